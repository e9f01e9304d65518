# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the kernel a run has executed, as it stands in the run's directory.

coverage/counts.jsonl          what was taken from a guest, in order: CountRecord
coverage/NUMBER-NNNNN.zip      one of these: .gcda files, as the kernel made them
coverage/CIRCUMSTANCE.json.gz  all of a circumstance together, for gcovr (--json-add-tracefile)
coverage/coverage.xml          what cases executed, in Cobertura's format
coverage/coverage.json         the same in short, and the lines of the series: CoverageReport
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

DIRECTORY = "coverage"
COUNTS = "counts.jsonl"
COBERTURA = "coverage.xml"
REPORT = "coverage.json"


class Circumstance(StrEnum):
    """Under what the kernel executed something, the last one goes before the others."""

    OUTSIDE = "outside"
    """Outside of cases: while the guest began, and between them."""
    PLAIN = "plain"
    """In a case, while nothing was done to it: without a fault, or after it."""
    FAULT = "fault"
    """In a case, with a fault."""


NEVER = "never"
"""Of a line: in no circumstance."""

WORDS = {
    NEVER: "never",
    Circumstance.OUTSIDE: "outside of cases only",
    Circumstance.PLAIN: "without a fault only",
    Circumstance.FAULT: "with a fault",
}
"""When a line was executed, in words."""


class CountRecord(BaseModel):
    """What was taken from a guest's kernel at once, or was lost with it."""

    model_config = ConfigDict(frozen=True)

    case: str
    """By its number where it has one, else by its title; '' outside of cases."""
    circumstance: Circumstance
    file: str = ""
    """In the directory; '' where nothing was counted, or it was lost."""
    lost: str = ""
    """Why there is nothing, where there should be."""
    seconds: float = 0.0
    """That taking it took."""


_LETTERS = {NEVER: ".", Circumstance.OUTSIDE: "o", Circumstance.PLAIN: "p", Circumstance.FAULT: "f"}
"""When a line was executed, in a letter."""


class CoveredFile(BaseModel):
    """A source file, and when each of its lines with code was executed."""

    model_config = ConfigDict(frozen=True)

    file: str
    letters: str
    """One for each line with code, in order."""

    @classmethod
    def of(cls, file: str, whens: Iterable[str]) -> "CoveredFile":
        """A file by when its lines were executed."""
        return cls(file=file, letters="".join(_LETTERS[when] for when in whens))

    @property
    def lines(self) -> int:
        """How many have code."""
        return len(self.letters)

    @property
    def executed(self) -> int:
        """How many were executed by cases."""
        return self.fault + self.letters.count(_LETTERS[Circumstance.PLAIN])

    @property
    def fault(self) -> int:
        """How many were executed by cases with a fault."""
        return self.letters.count(_LETTERS[Circumstance.FAULT])

    def with_(self, other: "CoveredFile") -> "CoveredFile":
        """The same file of the same kernel, executed by both."""
        rank = "".join(_LETTERS.values()).index
        both = zip(self.letters, other.letters, strict=True)
        return CoveredFile(file=self.file, letters="".join(max(pair, key=rank) for pair in both))


class SeriesLine(BaseModel):
    """A line of code that the series adds or changes."""

    model_config = ConfigDict(frozen=True)

    file: str
    line: int
    when: str
    """NEVER, or the circumstance that goes before the others in which it was executed."""
    function: str = ""
    text: str = ""


class CoveredFiles(BaseModel):
    """Files of sources, added up."""

    model_config = ConfigDict(frozen=True)

    files: tuple[CoveredFile, ...]

    @property
    def lines(self) -> int:
        """How many lines have code."""
        return sum(one.lines for one in self.files)

    @property
    def executed(self) -> int:
        """How many lines were executed by cases."""
        return sum(one.executed for one in self.files)

    @property
    def fault(self) -> int:
        """How many lines were executed by cases with a fault."""
        return sum(one.fault for one in self.files)


class CoverageReport(CoveredFiles):
    """What a run executed of its kernel."""

    kernel: str
    """As its profile names it."""
    key: str
    """Of its artifact: lines are compared with those of the very same kernel only."""
    places: tuple[str, ...]
    series: tuple[SeriesLine, ...] = ()
    uncounted: tuple[str, ...] = ()
    """Files of the series that no object counts."""
    lost: tuple[CountRecord, ...] = ()
    taken: int = 0
    """How often counts were taken."""
    seconds: float = 0.0
    """That this took in the guests."""

    def count(self, when: str) -> int:
        """How many lines of the series were executed then."""
        return sum(line.when == when for line in self.series)

    def document(self) -> dict[str, Any]:
        """For the run's JSON: all but the single lines."""
        return {
            "places": list(self.places),
            "lines": self.lines,
            "executed": self.executed,
            "fault": self.fault,
            "series": {when: self.count(when) for when in WORDS} if self.series else None,
            "lost": sum(bool(one.case) for one in self.lost),
        }


class Stretch(BaseModel):
    """Lines of a series that follow each other, of one function, and were executed alike."""

    model_config = ConfigDict(frozen=True)

    file: str
    first: int
    last: int
    when: str
    function: str
    text: str
    """That of the first."""

    @property
    def where(self) -> str:
        """FILE:LINE, or FILE:FIRST-LAST."""
        last = f"-{self.last}" if self.last > self.first else ""
        return f"{self.file}:{self.first}{last}"


def of_run(directory: Path) -> CoverageReport | None:
    """The report in a run's directory; None where there is none."""
    try:
        return CoverageReport.model_validate_json((directory / DIRECTORY / REPORT).read_bytes())
    except (OSError, ValidationError):
        return None


def records(directory: Path) -> list[CountRecord]:
    """What was taken in a run so far, in order."""
    try:
        lines = (directory / DIRECTORY / COUNTS).read_text().splitlines()
    except OSError:
        return []
    return [CountRecord.model_validate_json(line) for line in lines]


def stretches(lines: Sequence[SeriesLine], *whens: str) -> list[Stretch]:
    """The lines that were executed then, those together that follow each other."""
    found: list[Stretch] = []
    # Between two lines of code there are some without.
    order = {line: number for number, line in enumerate(lines)}
    last = -2
    for line in lines:
        if line.when not in whens:
            continue
        before = found[-1] if found else None
        if before and order[line] == last + 1 and _alike(before, line):
            found[-1] = before.model_copy(update={"last": line.line})
        else:
            found.append(
                Stretch(
                    file=line.file, first=line.line, last=line.line, when=line.when,
                    function=line.function, text=line.text.strip(),
                )
            )  # fmt: skip
        last = order[line]
    return found


def _alike(before: Stretch, line: SeriesLine) -> bool:
    return (before.file, before.function, before.when) == (line.file, line.function, line.when)


def merged(reports: Iterable[CoverageReport]) -> list[CoverageReport]:
    """The reports of several runs, those of the same kernel as one."""
    together: dict[str, CoverageReport] = {}
    for report in reports:
        one = together.get(report.key)
        together[report.key] = _both(one, report) if one else report
    return list(together.values())


def _both(one: CoverageReport, other: CoverageReport) -> CoverageReport:
    rank = list(WORDS).index
    pairs = zip(one.series, other.series, strict=True)
    return one.model_copy(
        update={
            "files": tuple(
                file.with_(same) for file, same in zip(one.files, other.files, strict=True)
            ),
            "series": tuple(max(pair, key=lambda line: rank(line.when)) for pair in pairs),
            "lost": (*one.lost, *other.lost),
            "taken": one.taken + other.taken,
            "seconds": one.seconds + other.seconds,
        }
    )
