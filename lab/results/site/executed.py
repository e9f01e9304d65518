# SPDX-License-Identifier: GPL-2.0-or-later
"""What the pages of a run and of a night show of what was executed of a kernel."""

from collections.abc import Iterable
from dataclasses import dataclass

from lab.host import dirs
from lab.results import coverage, executed
from lab.results.coverage import WORDS, CoverageReport, CoveredFiles, Stretch

LISTED = 300
"""Stretches of a series on a page."""


class DirectoryShown(CoveredFiles):
    """A directory of sources with its files."""

    name: str


@dataclass(frozen=True)
class ExecutedShown:
    """What was executed of a kernel."""

    report: CoverageReport

    @classmethod
    def of(cls, runs: Iterable[str]) -> "list[ExecutedShown]":
        """Of all kernels of some runs, as far as these counted it."""
        found = (coverage.of_run(dirs.state("runs") / run) for run in runs)
        return [cls(each) for each in coverage.merged(filter(None, found))]

    @property
    def headline(self) -> str:
        """How many lines were executed."""
        return executed.headline(self.report)

    @property
    def series(self) -> str:
        """How many lines of the series were executed; '' without one."""
        return executed.of_series(self.report)

    @property
    def cautions(self) -> list[str]:
        """What must be known before."""
        return list(executed.cautions(self.report))

    @property
    def rows(self) -> list[tuple[str, Stretch]]:
        """What of the series no case executed with a fault, and when it was executed."""
        return [(WORDS[one.when], one) for one in executed.asked(self.report)[:LISTED]]

    @property
    def left_out(self) -> int:
        """How many of these a page does not list."""
        return max(0, len(executed.asked(self.report)) - LISTED)

    @property
    def directories(self) -> list[DirectoryShown]:
        """The files by directory."""
        found = executed.by_directory(self.report)
        return [DirectoryShown(name=name, files=tuple(files)) for name, files in found]
