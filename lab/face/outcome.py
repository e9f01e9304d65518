# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run has come to, whatever its suite."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.results.cases import Case, CaseStatus, read


@dataclass(frozen=True)
class RunOutcome:
    """A run that has ended."""

    suite: str
    run: str
    """Its id, as `lab results show RUN` and `lab replay RUN:CASE` take it."""
    directory: Path
    """Its evidence and its timeline."""
    holds: bool
    """Whether every case came to what it should; known failures may fail."""
    cases: tuple[Case, ...]
    _document: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        """How many cases passed, and a line for each that did not."""
        lines = [
            f"{case.title}: {case.status}: {case.reason}"
            for case in self.cases
            if case.status is not CaseStatus.PASS
        ]
        passed = len(self.cases) - len(lines)
        return "\n".join([f"{self.suite}: {passed} of {len(self.cases)} cases passed", *lines])

    def document(self) -> dict[str, Any]:
        """The run's JSON, as `lab run --json` prints it."""
        return self._document

    @classmethod
    def of(cls, suite: str, document: dict[str, Any], directory: Path, status: int) -> "RunOutcome":
        """From a run's JSON and its exit status."""
        cases = tuple(read(case) for case in document["cases"])
        return cls(suite, document["run"], directory, status == 0, cases, document)
