# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run has executed, once its guests are gone: read, added up, written beside its counts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.artifacts.kernels import notes as kernel_notes
from lab.artifacts.kernels.gcov import within
from lab.artifacts.kernels.notes import KernelNotes
from lab.coverage import gcovr, series
from lab.coverage.gcov import Gcov, Lines
from lab.host.dirs import not_writable
from lab.host.scratch import scratch
from lab.results import coverage
from lab.results.coverage import NEVER, Circumstance, CountRecord, CoverageReport, CoveredFile

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ReadCounts:
    """What was taken in a run, read: in each circumstance all lines of what was asked for, and of
    what the series touches."""

    notes: KernelNotes
    records: Sequence[CountRecord]
    lines: Mapping[Circumstance, Lines]

    @classmethod
    def of(
        cls, directory: Path, notes: KernelNotes, records: Sequence[CountRecord]
    ) -> "ReadCounts":
        """Read records of the run in a directory.  Raises HostError."""
        gcov, place = Gcov(notes), directory / coverage.DIRECTORY
        touched = series.files(notes.series)
        found = {}
        for circumstance in Circumstance:
            taken = [one.file for one in records if one.file and one.circumstance is circumstance]
            with scratch() as room:
                lines = gcov.read(gcov.total((place / file for file in taken), room))
            found[circumstance] = {
                file: of
                for file, of in lines.items()
                if within(file, notes.places) or file in touched
            }
        return cls(notes, records, found)

    def write(self, directory: Path) -> None:
        """Write them for gcovr to the directory of a run.  Raises HostError."""
        _make_room(directory)
        for circumstance, lines in self.lines.items():
            gcovr.write(lines, tracefile(directory, circumstance))

    def report(self, kernel: str, key: str) -> CoverageReport:
        """What was executed of the kernel of this name, whose artifact has this key.  Raises
        HostError."""
        code = self.lines[Circumstance.OUTSIDE]
        return CoverageReport(
            kernel=kernel,
            key=key,
            places=self.notes.places,
            files=tuple(self._files()),
            series=tuple(series.judge(self.notes, code, self._when)),
            uncounted=series.uncounted(self.notes, code),
            lost=tuple(one for one in self.records if one.lost),
            taken=sum(not one.lost for one in self.records),
            seconds=round(sum(one.seconds for one in self.records), 3),
        )

    def _files(self) -> Iterator[CoveredFile]:
        for file, lines in sorted(self.lines[Circumstance.OUTSIDE].items()):
            yield CoveredFile.of(file, (self._when(file, number) for number in sorted(lines)))

    def _when(self, file: str, number: int) -> str:
        """The circumstance that goes before the others in which a line was executed, or NEVER."""
        executed = (one for one in reversed(Circumstance) if self.lines[one][file][number].count)
        return next(executed, NEVER)


def check(artifact: Path) -> None:
    """Raise HostError where the counts of the kernel with this artifact could not be read: its
    notes, or the programs for them, are lacking."""
    Gcov(kernel_notes.of_kernel(artifact))


def make(directory: Path, kernel: str, artifact: Path, progress: Progress) -> CoverageReport:
    """Make the report of a run from its directory, the name of its kernel, and that one's artifact.

    Raises HostError.
    """
    notes = kernel_notes.of_kernel(artifact)
    progress("coverage: read what was counted")
    read = ReadCounts.of(directory, notes, coverage.records(directory))
    read.write(directory)
    made = read.report(kernel, artifact.name)
    traces = tracefiles(directory)
    gcovr.cobertura(traces, notes.sources, directory / coverage.DIRECTORY / coverage.COBERTURA)
    _write(directory, made)
    return made


def join(directory: Path, parts: Sequence[Path]) -> CoverageReport | None:
    """Make the report of a run that is made of others, of theirs; None where these have none, or
    not on the same kernel.  Raises HostError."""
    found = {part: one for part in parts if (one := coverage.of_run(part))}
    together = coverage.merged(found.values())
    if len(together) != 1:
        return None
    _make_room(directory)
    for circumstance in Circumstance:
        traces = [tracefile(part, circumstance) for part in found]
        gcovr.together(traces, tracefile(directory, circumstance))
    _write(directory, together[0])
    return together[0]


def _write(directory: Path, made: CoverageReport) -> None:
    path = directory / coverage.DIRECTORY / coverage.REPORT
    try:
        path.write_text(made.model_dump_json() + "\n")
    except OSError as error:
        raise not_writable(path, error) from error


def _make_room(directory: Path) -> None:
    try:
        (directory / coverage.DIRECTORY).mkdir(exist_ok=True)
    except OSError as error:
        raise not_writable(directory, error) from error


def tracefiles(directory: Path) -> list[Path]:
    """Where a run's lines are that cases executed, for gcovr."""
    return [tracefile(directory, one) for one in (Circumstance.PLAIN, Circumstance.FAULT)]


def tracefile(directory: Path, circumstance: Circumstance) -> Path:
    """Where a run's lines of a circumstance are, for gcovr."""
    return directory / coverage.DIRECTORY / f"{circumstance}.json.gz"
