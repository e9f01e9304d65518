# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run has come to, whatever its suite."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.results.cases import Case, read


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

    def document(self) -> dict[str, Any]:
        """The run's JSON, as `lab run --json` prints it."""
        return self._document

    @classmethod
    def of(cls, suite: str, document: dict[str, Any], directory: Path, status: int) -> "RunOutcome":
        """From a run's JSON and its exit status."""
        cases = tuple(read(case) for case in document["cases"])
        return cls(suite, document["run"], directory, status == 0, cases, document)
