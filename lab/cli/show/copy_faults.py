# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of copy-faults on the terminal: its progress, its matrix, its findings."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import product

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.cli.show.watch import watching
from lab.copy.contract import RULES, Ruling
from lab.faults.actions import REHEARSAL, named
from lab.faults.model import Point
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.options import CopyFaultsOptions
from lab.suites.copy_faults.report import JudgedCase, Report, broken_rules
from lab.suites.watch import Watcher

_GAP = 2
"""Blanks between two columns."""

_STYLES = {
    "holds": "green", "violated": "bold red", "fell back": "yellow", "not exercised": "yellow",
}  # fmt: skip


def watched(options: CopyFaultsOptions) -> AbstractContextManager[Watcher[CaseResult]]:
    """Show a run, and of generated cases first what they are drawn from."""
    if options.generated:
        # Told before anything can go wrong: with it the same cases can be drawn again.
        print(f"seed {options.generated.seed}", file=sys.stderr)
    return watching_verdicts()


def watching_verdicts() -> AbstractContextManager[Watcher[CaseResult]]:
    """Show judged cases; above the bar, those that do not hold."""
    return watching(_summary, lambda case: "" if case.verdict == "holds" else _STYLES[case.verdict])


def _summary(case: CaseResult) -> str:
    name = named(case.point, case.action)
    return " ".join([f"{name}: {case.verdict}", *broken_rules(case)])


def show(report: Report, asked: CopyFaultsOptions) -> None:
    """The matrix, what was violated and why, and where the evidence lies."""
    console = Console(highlight=False)
    if report.not_supported:
        console.print(f"{report.path.name} on {report.path.ref}: not supported: "
                      f"{report.not_supported}", style="yellow")  # fmt: skip
    elif asked.generated:
        console.print(_tally(report, asked))
        console.print(f"drawn from seed {asked.generated.seed}")
    else:
        for rehearsal in _rehearsals(report):
            console.print(rehearsal)
        for table in _matrices(report, console.width):
            console.print(table)
    for action, said in report.lacking.items():
        console.print(f"{action}: not supported: {said}", style="yellow", markup=False)
    console.print()
    for line in _findings(report):
        console.print(line)
    print_summary(console, report)


def print_summary(console: Console, report: Report) -> None:
    """How many cases of which verdict, on what, and where the evidence lies."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(report.counts().items()))
    # The distribution's package version, in parentheses, is in the JSON.
    qemu = report.qemu.partition(" (")[0]
    console.print(f"{len(report.cases)} cases in {report.seconds:.1f} s: {counts or 'none judged'}")
    console.print(f"path {report.path.name} on {report.path.ref}")
    console.print(f"kernel {report.kernel}, QEMU {qemu}, {report.accelerator.upper()}")
    console.print(f"evidence: {report.directory}", soft_wrap=True)


def _rehearsals(report: Report) -> Iterator[Text]:
    """The copies that were made to come to no point, which stand in no column."""
    for case in report.cases:
        if not case.setup.action.at_a_point:
            yield Text.assemble(f"{case.setup.name}: ", _cell(case.result))


def _matrices(report: Report, width: int) -> Iterator[Table]:
    """A sweep: points, in the order in which a copy comes to them, by actions; as many tables as it
    takes for each to fit `width` columns."""
    cells = {
        (case.setup.point, case.setup.action): case.result
        for case in report.cases
        if case.setup.action.at_a_point
    }
    if not cells:
        return
    points = sorted({point for point, _ in cells}, key=Point.order)
    columns = {
        action: [_cell(cells.get((point, action))) for point in points]
        for action in dict.fromkeys(action for _, action in cells)
    }
    widths = [
        max(len(str(action)), *(len(cell) for cell in column)) for action, column in columns.items()
    ]
    first = max((len(str(point)) for point in points), default=0)
    for part in _fitting(widths, width - first - _GAP):
        actions = list(columns)[part]
        table = Table(
            "point", *map(str, actions), box=None, pad_edge=False, padding=(0, _GAP, 0, 0)
        )
        for row, point in enumerate(points):
            table.add_row(str(point), *(columns[action][row] for action in actions))
        yield table


def _fitting(widths: Sequence[int], room: int) -> Iterator[slice]:
    """The columns of these widths in parts that fit, each of at least one."""
    start, used = 0, 0
    for at, width in enumerate(widths):
        if at > start and used + width + _GAP > room:
            yield slice(start, at)
            start, used = at, 0
        used += width + _GAP
    yield slice(start, len(widths))


def _tally(report: Report, asked: CopyFaultsOptions) -> Table:
    """Generated cases: actions by verdicts, as counts."""
    table = Table("action", *_STYLES, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for action in (REHEARSAL, *asked.selection.actions):
        found = Counter(case.result.verdict for case in report.cases if case.setup.action == action)
        cells = [Text(str(found[each] or "·"), style) for each, style in _STYLES.items()]
        table.add_row(str(action), *cells)
    return table


def _findings(report: Report) -> Iterator[Text]:
    """Each rule that was violated, or fallen back from, with the number of its cases and the
    evidence of the first.

    A case that was minimised speaks for the ones like it: it is shown first, and small.
    """
    for rule, ruling in product(RULES, (Ruling.VIOLATED, Ruling.FELL_BACK)):
        cases = [case for case in report.cases if case.result.rules[rule].verdict is ruling]
        if cases:
            first = next((case for case in cases if case.minimised), cases[0])
            fell_back = ruling is Ruling.FELL_BACK
            yield Text.assemble(
                (f"{rule} {ruling}", "yellow") if fell_back else (rule, "bold red"),
                f" in {len(cases)} of {len(report.cases)} cases, first {cases[0].setup.name}: "
                f"{_shown(first).result.rules[rule].evidence}",
            )
            yield Text(f"  {_size(_shown(first))}: lab replay {_id(report, first)}", "dim")


def _shown(case: JudgedCase) -> JudgedCase:
    return case.minimised or case


def _id(report: Report, case: JudgedCase) -> str:
    return f"{report.run}:{case.number}{'.min' if case.minimised else ''}"


def _size(case: JudgedCase) -> str:
    copy = case.setup.layout.copy
    ranges, blocks = len(copy.sources), copy.target.sectors // copy.unit
    return (
        f"{case.setup.name}, {ranges} {'range' if ranges == 1 else 'ranges'} of {blocks} "
        f"{'block' if blocks == 1 else 'blocks in all' if ranges > 1 else 'blocks'}"
    )


def _cell(case: CaseResult | None) -> Text:
    if case is None:
        return Text("·", "dim")
    broken = broken_rules(case)
    if case.verdict != "violated":
        return Text(case.verdict, _STYLES[case.verdict])
    return Text(broken[0] + (f" +{len(broken) - 1}" if broken[1:] else ""), _STYLES["violated"])
