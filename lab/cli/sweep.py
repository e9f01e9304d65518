"""A sweep of copy-faults on the terminal: its progress, its matrix, its findings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from lab.cli.terminal import timed_lines
from lab.copy.contract import RULES, Ruling
from lab.faults.model import points_of
from lab.suites.case import CaseResult
from lab.suites.copy_faults import Report

Watch = tuple[Callable[[str], None], Callable[[CaseResult], None]]

_STYLES = {"holds": "green", "violated": "bold red", "not exercised": "yellow"}


@contextmanager
def watched(total: int) -> Iterator[Watch]:
    """Show a sweep of `total` cases: a bar on a terminal, a line per case elsewhere.

    Yields the functions that take its phases and its judged cases.
    """
    if not sys.stderr.isatty():
        line = timed_lines()
        yield line, lambda case: line(_summary(case))
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("…", total=total)

        def judged(case: CaseResult) -> None:
            bar.update(task, advance=1, description=f"{case.point} {case.action}")
            if case.verdict != "holds":
                bar.console.print(Text(_summary(case), _STYLES[case.verdict]))

        yield lambda text: bar.update(task, description=text), judged


def _broken(case: CaseResult) -> list[str]:
    return [rule for rule, found in case.rules.items() if found.verdict is Ruling.VIOLATED]


def _summary(case: CaseResult) -> str:
    return " ".join([f"{case.point} {case.action}: {case.verdict}", *_broken(case)])


def print_report(report: Report) -> None:
    """The matrix, what was violated and why, and where the evidence lies."""
    console = Console(highlight=False)
    actions = report.options.actions
    reachable = {point for point, _ in report.options.cells()}
    cells = {(case.point, case.action): case for case in report.cases}
    matrix = Table("point", *actions, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    # Points are shown in the order in which a copy comes to them.
    for point in (point for point in points_of(report.options.ranges) if point in reachable):
        row = [_cell(cells.get((point, action))) for action in actions]
        matrix.add_row(str(point), *row)
    console.print(matrix)
    console.print()
    for line in _findings(report):
        console.print(line)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(report.counts().items()))
    # The distribution's package version, in parentheses, is in the JSON.
    qemu = report.qemu.partition(" (")[0]
    console.print(f"{len(report.cases)} cases in {report.seconds:.1f} s: {counts or 'none judged'}")
    console.print(f"kernel {report.kernel}, QEMU {qemu}, {report.accelerator.upper()}")
    console.print(f"evidence: {report.directory}", soft_wrap=True)


def _findings(report: Report) -> Iterator[Text]:
    """Each violated rule with the number of its cases and the evidence of the first."""
    for rule in RULES:
        cases = [case for case in report.cases if rule in _broken(case)]
        if cases:
            first = cases[0]
            yield Text.assemble(
                (rule, "bold red"),
                f" in {len(cases)} of {len(report.cases)} cases, first {first.point} "
                f"{first.action}: {first.rules[rule].evidence}",
            )


def _cell(case: CaseResult | None) -> Text:
    if case is None:
        return Text("·", "dim")
    broken = _broken(case)
    if case.verdict != "violated":
        return Text(case.verdict, _STYLES[case.verdict])
    return Text(broken[0] + (f" +{len(broken) - 1}" if broken[1:] else ""), _STYLES["violated"])
