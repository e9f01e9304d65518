# SPDX-License-Identifier: GPL-2.0-or-later
"""Crash states on the terminal: how many there are, how many were judged, and which are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.cli.show.cases import show as show_cases
from lab.cli.show.cases import watched
from lab.suites.crash_states.report import cuts

if TYPE_CHECKING:
    from lab.suites.crash_states.report import CoverageRow, CrashReport

__all__ = ["show", "watched"]


def show(outcome: CrashReport, options: object) -> None:
    """How much was looked at, what failed, and the usual of a run."""
    console = Console(highlight=False)
    if outcome.coverage:
        console.print(_coverage(outcome.coverage))
        rate = outcome.judged / outcome.cpu if outcome.cpu else 0.0
        console.print(
            f"{outcome.enumerated} states enumerated, {outcome.judged} judged "
            f"({cuts(outcome.coverage):.1f} times fewer), {rate:.0f} a CPU second, "
            f"{outcome.checked} of them twice"
        )
    for failure in outcome.failures:
        operations = ", ".join(map(str, failure.operations))
        replay = f"lab replay {outcome.run}:{failure.number}"
        console.print(Text(f"failure {failure.number}: {' '.join(failure.rules)}", "bold red"))
        for line in (f"operations {operations}; {failure.loss}", *failure.evidence, replay):
            console.print(f"    {line}", soft_wrap=True)
    show_cases(outcome, options)


def _coverage(rows: list[CoverageRow]) -> Table:
    table = Table(
        "", "writes", "losses", "enumerated", "judged", "wrong", "of all sets", box=None,
        pad_edge=False,
    )  # fmt: skip
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        seen = row.coverage
        table.add_row(
            row.name, str(seen.volatile), str(seen.losses), str(seen.enumerated),
            str(seen.distinct), str(seen.wrong), share(seen.share),
        )  # fmt: skip
    return table


def share(part: float) -> str:
    """A part of a whole that may be tiny."""
    if part >= 0.001:
        return f"{part:.1%}"
    return f"{part:.0e}" if part else "~0"
