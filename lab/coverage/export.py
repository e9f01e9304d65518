# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs have executed together, for others: gcovr's pages, and Cobertura's XML."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.artifacts import cache
from lab.artifacts.kernels import notes
from lab.artifacts.kernels.notes import KernelNotes
from lab.coverage import gcovr
from lab.coverage.report import ReadCounts, tracefiles
from lab.errors import HostError, UsageError
from lab.host.dirs import not_writable
from lab.host.scratch import scratch
from lab.results import coverage
from lab.results.coverage import CoverageReport

INDEX = "index.html"


@dataclass(frozen=True)
class CoveredRuns:
    """Runs on the very same kernel, and their report together."""

    report: CoverageReport
    directories: tuple[Path, ...]

    def pages(self, directory: Path) -> Path:
        """Write pages of every file of the sources, with all lines; the first of them.

        Raises HostError, also where the kernel is not built any more: its sources are with it.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_writable(directory, error) from error
        title = f"{self.report.kernel}: what cases executed"
        gcovr.pages(self._tracefiles(), self._sources(), directory / INDEX, title)
        return directory / INDEX

    def cobertura(self, target: Path) -> None:
        """Write the same in Cobertura's format.  Raises HostError."""
        gcovr.cobertura(self._tracefiles(), self._sources(), target)

    def _tracefiles(self) -> list[Path]:
        return [file for place in self.directories for file in tracefiles(place)]

    def _sources(self) -> Path:
        return _kernel(self.report).sources


def together(directories: Sequence[Path], what: str) -> list[CoveredRuns]:
    """The runs in these directories that have counted what they executed, by kernel.

    Raises UsageError where there is none.
    """
    found = [(place, report) for place in directories if (report := coverage.of_run(place))]
    if not found:
        raise UsageError(
            f"{what}: nothing counted what was executed of the kernel",
            hint="lab run PROFILE SUITE --coverage drivers/nvme,block, or a plan with a kernel "
            "such as NAME+gcov:block",
        )
    return [
        CoveredRuns(report, tuple(place for place, one in found if one.key == report.key))
        for report in coverage.merged(report for _, report in found)
    ]


@contextmanager
def of_case(directory: Path, case: str) -> Iterator[CoveredRuns]:
    """What one case of the run in a directory has executed, in a `with` block.

    Raises UsageError where nothing was counted of it, HostError where its kernel is gone.
    """
    (run,) = together([directory], directory.name)
    records = [one for one in coverage.records(directory) if case and one.case == case]
    if not records:
        known = dict.fromkeys(one.case for one in coverage.records(directory) if one.case)
        raise UsageError(
            f"{directory.name}: nothing was counted of a case {case}",
            hint=f"there are: {', '.join(known)}",
        )
    with scratch() as place:
        read = ReadCounts.of(directory, _kernel(run.report), records)
        read.write(place)
        yield CoveredRuns(read.report(run.report.kernel, run.report.key), (place,))


def _kernel(report: CoverageReport) -> KernelNotes:
    """What is kept of the kernel of a report.  Raises HostError."""
    for artifact in cache.listing("kernel"):
        if artifact.path.name == report.key:
            return notes.of_kernel(artifact.path)
    raise HostError(
        f"the kernel {report.key} is not built any more, and its sources are with it",
        hint=f"lab kernel build '{report.kernel}' makes it again, if nothing has changed",
    )
