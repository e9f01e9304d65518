# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab results list|show`: the runs there were, and their cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from lab.cli.compare import complete_run
from lab.cli.terminal import print_json, print_table

app = typer.Typer(help="List, show, compare and export runs.", no_args_is_help=True)


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Number = Annotated[int, typer.Option("-n", "--number", min=1, help="At most so many.")]


@app.command("list")
def list_runs(number: Number = 20, json: Json = False) -> None:
    """List runs, the latest first."""
    from lab.results import runs

    found = [_row(name, runs.document(name)) for name in runs.ids()[:number]]
    if json:
        print_json(found)
    elif not found:
        print("no runs; make one with: lab run nvme-copy copy-faults")
    else:
        columns = ("run", "suite", "profile", "cases")
        print_table(columns, [tuple(row[column] for column in columns) for row in found])


@app.command("show")
def show(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN[:CASE]",
            help="A run, or a case of it as `lab replay` names it.",
            autocompletion=complete_run,
        ),
    ],
    json: Json = False,
) -> None:
    """Show the cases of a run and what is worth a look, or one case with its sectors."""
    from lab.results import coverage, runs

    run, _, wanted = runs.spelled_out(run).partition(":")
    past = runs.load(run)
    if wanted:
        _show_case(run, wanted, past.document, json=json)
        return
    if json:
        print_json(past.document)
        return
    from rich.console import Console

    from lab.cli.show.cases import print_cases, table, tally
    from lab.cli.show.dumps import print_list
    from lab.results.cases import read_all

    cases = read_all(run, past.document)
    console = Console(highlight=False)
    console.print(table(cases))
    console.print()
    print_cases(console, cases)
    found = past.document
    console.print(
        f"{found['suite']} on {found['profile']}, kernel {found.get('kernel', '-')}: {tally(cases)}"
        + "".join(_remarks(run, found))
    )
    if measured := found.get("latency"):
        from lab.cli.show.latency import print_latency

        print_latency(measured)
    print_list(console, run)
    if executed := coverage.of_run(runs.directory(run)):
        from lab.cli.show.coverage import print_coverage

        print_coverage(executed, run)
    if found.get("error"):
        console.print(f"broken off: {found['error']}", style="bold red", markup=False)


def _show_case(run: str, wanted: str, document: dict[str, Any], *, json: bool) -> None:
    from rich.console import Console

    from lab.errors import UsageError

    cases = document["cases"]
    named = [case for case in cases if case.get("name") == wanted and "number" not in case]
    if not named and not all("number" in case for case in cases):
        raise UsageError(f"run {run} has no case {wanted}", hint=f"lab results show {run}")
    if named:
        from lab.cli.show.cases import print_cases, table
        from lab.cli.show.dumps import print_dumps
        from lab.results.cases import read_all

        if json:
            print_json(named)
            return
        found = read_all(run, {"cases": named})
        console = Console(highlight=False)
        console.print(table(found))
        print_cases(console, found)
        print_dumps(console, run, *{each.title for each in found})
        return
    from lab.cli.show.judged import print_judged
    from lab.suites.copy_faults.replay import case_named

    case = case_named(cases, run, wanted)
    if json:
        print_json(case)
        return
    # A run that is made of others says which one had the case.
    console = Console(highlight=False)
    print_judged(console, str(case.get("run", run)), case)
    if said := list(_remarks(run, document)):
        console.print("careful" + "".join(said), style="bold yellow")


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="RUN|NIGHT", help="Its id, or how that begins.")],
) -> None:
    """Fetch the evidence of a run, or of all runs of a night, from the depot (LAB_ARTIFACTS)."""
    from lab.cli.terminal import phases
    from lab.farm.hosts.evidence import bring, runs_named
    from lab.results.store.database import session

    with session() as store:
        wanted = runs_named(store, name)
    with phases() as progress:
        brought = [run for run in wanted if bring(run, progress)]
    print(f"{len(brought)} of {len(wanted)} fetched, the others are here: lab results show RUN")


def _remarks(name: str, document: dict[str, Any]) -> Iterator[str]:
    """What must be known of a run before its cases mean anything."""
    from lab.results import runs
    from lab.results.remarks import INTERRUPTED, remarks

    ended = runs.ended(name)
    error = str(document.get("error") or "") if ended else ""
    for remark in remarks(runs.planted(document), error):
        yield f", {remark}"
    if not ended:
        yield f", {INTERRUPTED}"


def _row(name: str, document: dict[str, Any]) -> dict[str, str]:
    """A run in the listing; what cannot be read of one is told there, and hides no other."""
    from lab.errors import UsageError

    if not document:
        from lab.results import runs
        from lab.results.remarks import INTERRUPTED, UNFINISHED

        cases = f"none, {INTERRUPTED if runs.interrupted(name) else UNFINISHED}"
        return {"run": name, "suite": "-", "profile": "-", "cases": cases}
    from lab.cli.show.cases import tally
    from lab.results.cases import UNREADABLE, read_all

    try:
        cases = "".join([tally(read_all(name, document)), *_remarks(name, document)])
    except UsageError as error:
        cases = error.message.removeprefix(f"run {name}: ")
    except UNREADABLE as error:
        cases = f"cannot be read: {type(error).__name__} {error}"
    suite, profile = (str(document.get(key, "-")) for key in ("suite", "profile"))
    return {"run": name, "suite": suite, "profile": profile, "cases": cases}
