# SPDX-License-Identifier: GPL-2.0-or-later
"""What was executed of the kernel, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.results import executed
from lab.results.coverage import NEVER, WORDS

if TYPE_CHECKING:
    from lab.results.coverage import CoverageReport

_SHOWN = 25
"""Stretches of a series that are listed at the end of a run."""


def print_coverage(report: CoverageReport, name: str) -> None:
    """How much was executed, and what of the series was not; `name` is of the run or night."""
    console = Console(highlight=False)
    console.print(Text.assemble(("\ncoverage", "bold"), f": {executed.headline(report)}"))
    if said := executed.of_series(report):
        console.print(said)
    for caution in executed.cautions(report):
        console.print(Text(caution, "yellow"))
    found = executed.asked(report)
    _print_series(console, report, _SHOWN)
    if len(found) > _SHOWN:
        console.print(f"… and {len(found) - _SHOWN} more", style="dim")
    console.print(f"by file, as pages, as XML: lab results coverage {name}", style="dim")


def print_files(report: CoverageReport) -> None:
    """How much of each file was executed, and all of the series."""
    console = Console(highlight=False)
    table = Table(*("file", "lines", "by cases", "with a fault"), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in report.files:
        table.add_row(one.file, *map(str, (one.lines, one.executed, one.fault)))
    console.print(table)
    console.print(executed.headline(report))
    for sentence in filter(None, (executed.of_series(report), *executed.cautions(report))):
        console.print(sentence)
    _print_series(console, report, len(report.series))


def _print_series(console: Console, report: CoverageReport, number: int) -> None:
    """What was not executed with a fault: where, whole on any terminal, with the code below."""
    room = max(map(len, WORDS.values())) + 2
    for one in executed.asked(report)[:number]:
        style = "bold red" if one.when == NEVER else "yellow"
        function = f"  {one.function}()" if one.function else ""
        said = Text.assemble((WORDS[one.when].ljust(room), style), one.where, (function, "dim"))
        console.print(said, soft_wrap=True)
        code = Text(" " * (room + 4) + one.text)
        code.truncate(console.width, overflow="ellipsis")
        console.print(code)
