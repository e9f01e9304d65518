# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab results compare`: runs against a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.terminal import phases, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from lab.results.baseline import Comparison
    from lab.results.compare import ChangeKind, ItemDifference

SHOWN = 40
"""Changes of a kind that a terminal is shown."""

_OF_RULES = ("regressed", "new, failing", "fixed", "flaky")
_OF_CASES = (*_OF_RULES, "still failing", "not run")
"""The changes that are listed: a rule that was not run is that of a case that was not."""


def complete_run(incomplete: str) -> list[str]:
    """The ids of runs that start with `incomplete`, for the shell's completion."""
    from lab.results.runs import ids

    return [run for run in ids() if run.startswith(incomplete)]


def register(app: typer.Typer) -> None:
    """Add the command to `lab results`."""
    app.command()(compare)


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
    comparison = comparison_of(base, run)
    if json:
        print_json(comparison.document())
    else:
        print_comparison(comparison)
    raise typer.Exit(comparison.exit_status)


def comparison_of(base: str, run: str) -> Comparison:
    """A run compared with its baseline; both are named as for `lab results compare`."""
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
