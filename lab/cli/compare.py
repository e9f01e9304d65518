# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab results compare|export|bundle|html`: runs against a baseline, and runs for others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.cli.terminal import phases, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from lab.results.baseline import Comparison
    from lab.results.compare import ChangeKind, ItemDifference
    from lab.results.coverage import CoverageReport

SHOWN = 40
"""Changes of a kind that a terminal is shown."""

_OF_RULES = ("regressed", "new, failing", "fixed", "flaky")
_OF_CASES = (*_OF_RULES, "still failing", "not run")
"""The changes that are listed: a rule that was not run is that of a case that was not."""


class ExportFormat(StrEnum):
    """What `lab results export` writes."""

    KCIDB = "kcidb"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    MAIL = "mail"
    TABLES = "tables"


def complete_run(incomplete: str) -> list[str]:
    """The ids of runs that start with `incomplete`, for the shell's completion."""
    from lab.results.runs import ids

    return [run for run in ids() if run.startswith(incomplete)]


def register(app: typer.Typer) -> None:
    """Add the commands to `lab results`."""
    app.command()(compare)
    app.command()(export)
    app.command()(bundle)
    app.command()(html)
    app.command()(matrix)
    app.command()(notify)


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Base = Annotated[
    str, typer.Argument(metavar="BASE", help="The baseline.", autocompletion=complete_run)
]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id or its beginning; default: the latest.",
        autocompletion=complete_run,
    ),
]


def compare(base: Base, run: Run = "latest", json: Json = False) -> None:
    """Say what a run did otherwise than its baseline.

    Exit status 1 if it regressed.
    """
    comparison = _compared(base, run)
    if json:
        print_json(comparison.document())
    else:
        print_comparison(comparison)
    raise typer.Exit(comparison.exit_status)


def export(
    run: Run = "latest",
    to: Annotated[ExportFormat, typer.Option("--to", help="The format.")] = ExportFormat.KCIDB,
    base: Annotated[
        str | None,
        typer.Option(help="The baseline, for markdown.", autocompletion=complete_run),
    ] = None,
    origin: Annotated[str, typer.Option(help="Who reports, for kcidb.")] = "lab",
) -> None:
    """Print a run for others.

    As KCIDB's JSON, a summary in Markdown for a mailing list, or JUnit XML for CI systems.  As a
    mail: what copies came to, findings first; as tables: by path, fault and rule, in Markdown; of a
    night both on all kernels but the baseline, unless that is the only one.
    """
    from lab.errors import UsageError

    if to in (ExportFormat.MAIL, ExportFormat.TABLES):
        from lab.results.mail import mail
        from lab.results.tables import tables

        documents, covered = _judging(run)
        print(mail(documents, covered) if to is ExportFormat.MAIL else tables(documents), end="")
        return

    if to is ExportFormat.MARKDOWN:
        from lab.results.markdown import summary
        from lab.results.tester import tester

        if base is None:
            raise UsageError("a summary compares", hint="name the baseline: --base RUN")
        print(summary(_compared(base, run), tester()), end="")
        return
    from lab.results.kcidb import report
    from lab.results.store.database import session
    from lab.results.store.feed import feed
    from lab.results.store.query import cases_of, run_named

    with session() as store:
        feed(store)
        found = run_named(store, run)
        if to is ExportFormat.KCIDB:
            print_json(report([found], cases_of(store, [found.id]), origin))
            return
    from lab.results.cases import read
    from lab.results.junit import xml
    from lab.results.runs import load

    document = load(found.id).document
    said = {"plant": found.plant, "error": found.error}
    cases = [read(case) for case in document["cases"]]
    print(xml(found.id, found.suite, cases, said), end="")


def _judging(name: str) -> tuple[list[dict[str, Any]], list[CoverageReport]]:
    """A run that judges copies, or those of a night but for its baseline: their documents, with the
    name that the kernel was asked for by, and what of the kernels they executed."""
    import json

    from lab.errors import UsageError
    from lab.farm.hosts.evidence import runs_named
    from lab.results import coverage, runs
    from lab.results.store.database import session
    from lab.results.store.feed import feed

    with session() as store:
        feed(store)
        wanted = runs_named(store, name, baseline=False)
    found = map(runs.load, wanted)
    documents = [
        past.document | {"kernel_name": json.loads(past.profile)["kernel"]}
        for past in found
        if "path" in past.document
    ]
    if not documents:
        raise UsageError(f"{name} has no run that judges copies", hint="such as copy-faults")
    counted = filter(None, (coverage.of_run(runs.directory(run)) for run in wanted))
    return documents, coverage.merged(counted)


def bundle(
    case: Annotated[
        str,
        typer.Argument(
            metavar="RUN[:CASE]",
            help="The run, and the case that matters in it: default, the only one that failed.",
            autocompletion=complete_run,
        ),
    ],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Where to; default: lab-RUN.tar.gz, here."),
    ] = None,
) -> None:
    """Put a run into one file, to look at and replay.

    Elsewhere `lab replay` takes it as it is.
    """
    from lab.cli.terminal import warn
    from lab.results.runs import spelled_out
    from lab.suites.copy_faults.bundle import make_bundle

    run, _, wanted = spelled_out(case).partition(":")
    target = file or Path(f"lab-{run}.tar.gz")
    with phases() as progress:
        progress("pack the run's evidence")
        lacking = make_bundle(run, wanted, target)
    for what in lacking:
        warn(f"left out {what}")
    print(f"{target} {target.stat().st_size / 1e6:.1f} MB")


def html(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIRECTORY]", help="Where to; default: in the state directory."),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help="Pages of these runs too.", autocompletion=complete_run),
    ] = None,
) -> None:
    """Write pages of the last night and its runs.

    Without any night, of the latest run.  Prints the index, and the address of each run's page that
    --run asks for.
    """
    from lab.farm.outcome import last_night
    from lab.host import dirs
    from lab.results.runs import LATEST
    from lab.results.site.write import write
    from lab.results.store.database import session
    from lab.results.store.feed import feed
    from lab.results.store.query import run_named
    from lab.results.store.schema import RunRow

    with phases() as progress, session() as store:
        progress("take in new runs")
        feed(store)
        progress("write the pages")
        night = last_night(store)
        ids = [job.run_id for job in night.row.jobs if job.run_id] if night else []
        runs = [store.get(RunRow, each) for each in ids]
        wanted = run or ([] if night else [LATEST])
        asked = [run_named(store, name) for name in wanted]
        # What was asked for comes first, then the latest.
        found = asked + [one for one in reversed(runs) if one]
        index = write(store, directory or dirs.state("site"), night, found)
        print(index)
        for one in asked:
            print((index.parent / f"{one.id}.html").absolute().as_uri())


def matrix(
    night: Annotated[
        str, typer.Argument(metavar="[NIGHT]", help="Its id or its beginning; default: the last.")
    ] = "",
    known: Annotated[
        Path | None,
        typer.Option(help="A YAML list that explains failures, each with `says` and `because`."),
    ] = None,
    plan: Annotated[
        str, typer.Option(help="How to call the plan on the page; default: its name.")
    ] = "",
) -> None:
    """Print a night as a page: for each profile its QEMUs by kernels, in Markdown."""
    from lab.farm import page
    from lab.results.store.database import session
    from lab.results.store.query import night_named

    explained = page.known(known) if known else []
    with session() as store:
        found = night_named(store, night)
        print(page.page(store, found, explained, plan or f"{found.plan}.yaml"), end="")


def notify(
    night: Annotated[
        str, typer.Argument(metavar="[NIGHT]", help="Its id or its beginning; default: the last.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the mail and the JSON, and send nothing.")
    ] = False,
) -> None:
    """Tell of a night again, by the mail and the webhook of the settings.

    Exit status 3 if somebody could not be told.
    """
    from lab.errors import UsageError
    from lab.farm.notify.send import notices
    from lab.farm.outcome import with_before
    from lab.host.settings import load
    from lab.results import letter
    from lab.results.store.database import session
    from lab.results.store.query import night_named

    settings = load().notify
    with session() as store:
        found = with_before(store, night_named(store, night))
        if dry_run:
            print(f"Subject: {letter.subject(found)}\n\n{letter.text(found)}")
            print_json(letter.document(found))
            return
        if not (settings.mail or settings.webhook):
            raise UsageError(
                "nobody is to be told of a night",
                hint="set notify.mail or notify.webhook in config.yaml: docs/nightly.md",
            )
        from lab.cli.nightly import tell

        raise typer.Exit(0 if tell(notices(settings), found) else 3)


def _compared(base: str, run: str) -> Comparison:
    from lab.results.baseline import compared
    from lab.results.store.database import session
    from lab.results.store.feed import feed
    from lab.results.store.query import run_named

    with phases() as progress, session() as store:
        progress("take in new runs")
        feed(store)
        progress("compare")
        return compared(store, [run_named(store, base)], [run_named(store, run)])


def print_comparison(comparison: Comparison) -> None:
    """What must be known of the runs, what changed, and in which runs the lab failed."""
    from rich.console import Console
    from rich.text import Text

    from lab.results.compare import ChangeKind, counts

    shown = {"rules": _OF_RULES, "cases": _OF_CASES}
    console = Console(highlight=False)
    for warning in comparison.warnings:
        console.print(Text(f"careful: {warning}", "bold red"), soft_wrap=True)
    for title, differences in (("cases", comparison.cases), ("rules", comparison.rules)):
        if not differences:
            continue
        told = ", ".join(f"{count} {change}" for change, count in counts(differences).items())
        console.print(f"{title}: {told}")
        for change in ChangeKind:
            rows = [one for one in differences if one.change is change]
            if change.value in shown[title]:
                _print_changes(console, change, rows)
    for run in comparison.runs:
        if run.error:
            console.print(f"the lab failed in {run.id}: {run.error}", markup=False)


def _print_changes(console: Console, change: ChangeKind, rows: Sequence[ItemDifference]) -> None:
    from rich.text import Text

    from lab.results.compare import BAD

    style = "bold red" if change in BAD else "bold"
    for one in rows[:SHOWN]:
        where = f" ({one.item.suite}, {one.item.profile}), "
        console.print(
            Text.assemble(
                (f"  {change}: ", style), one.item.title, where, f"passed {one.tally}",
                f", before {one.baseline}" if one.baseline.ran else "",
            )
        )  # fmt: skip
        if one.hosts:
            console.print(Text(f"    {one.hosts}", "yellow"))
        if one.reason and not one.item.rule:
            console.print(Text(f"    {one.reason}", "dim"))
    if len(rows) > SHOWN:
        console.print(f"  and {len(rows) - SHOWN} more: --json has them all")
