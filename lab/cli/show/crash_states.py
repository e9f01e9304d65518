# SPDX-License-Identifier: GPL-2.0-or-later
"""Crash states on the terminal: how many there are, how many were judged, and which are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.cli.show.cases import show as show_cases
from lab.cli.show.cases import watched
from lab.suites.crash_states.options import COPIES
from lab.suites.crash_states.report import cuts

if TYPE_CHECKING:
    from lab.suites.crash_states.report import CoverageRow, CrashReport

__all__ = ["show", "watched"]


def show(outcome: CrashReport, options: object) -> None:
    """How much was looked at, what failed, and the usual of a run."""
    console = Console(highlight=False)
    if outcome.coverage:
        of_copies = outcome.workload == COPIES
        console.print(_epochs(outcome.coverage) if of_copies else _kinds(outcome.coverage))
        console.print(_pace(outcome, of_copies=of_copies), soft_wrap=True)
    for failure in outcome.failures:
        operations = ", ".join(map(str, failure.operations))
        replay = f"lab replay {outcome.run}:{failure.number}"
        console.print(Text(f"failure {failure.number}: {' '.join(failure.rules)}", "bold red"))
        what = "operations" if outcome.workload == COPIES else "steps"
        for line in (
            f"{what} {operations}; {failure.loss}",
            *failure.evidence,
            replay,
        ):
            console.print(f"    {line}", soft_wrap=True)
    show_cases(outcome, options)


def _pace(outcome: CrashReport, *, of_copies: bool) -> str:
    """How many states there were, and how fast they were judged."""
    rate = f"{outcome.judged / outcome.cpu:.0f} a CPU second" if outcome.cpu else ""
    if not of_copies:
        rate = f"{outcome.judged / outcome.wall:.1f} a second" if outcome.wall else ""
    twice = f", {outcome.checked} of them twice" if of_copies else ""
    if more := sum(row.checked for row in outcome.coverage):
        twice = f"; {more} more were looked at, and found to be what was known"
    return (
        f"{outcome.enumerated} states enumerated, {outcome.distinct} distinct, "
        f"{outcome.judged} judged ({cuts(outcome.coverage):.1f} times fewer), {rate}{twice}"
    )


def _table(*heads: str) -> Table:
    table = Table(*heads, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _kinds(rows: list[CoverageRow]) -> Table:
    """A row for each file system; run.json has one for each epoch."""
    table = _table("", "workloads", "epochs", "enumerated", "distinct", "judged", "wrong")
    for kind in dict.fromkeys(row.name.partition(":")[0] for row in rows):
        its = [row for row in rows if row.name.startswith(f"{kind}:")]
        seen = [row.coverage for row in its]
        table.add_row(
            kind, str(len({row.name for row in its})), str(len(its)),
            str(sum(each.enumerated for each in seen)), str(sum(each.distinct for each in seen)),
            str(sum(row.judged for row in its)), str(sum(each.wrong for each in seen)),
        )  # fmt: skip
    return table


def _epochs(rows: list[CoverageRow]) -> Table:
    table = _table("", "writes", "losses", "enumerated", "judged", "wrong", "of all sets")
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
