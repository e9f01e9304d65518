# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of the suite has come to: its cases, and its JSON."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from lab.copy.contract import Ruling
from lab.copy.paths.base import CopyPath
from lab.copy.plant import Plant
from lab.errors import UsageError
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.cell import Setup
from lab.suites.outcome import Outcome


def broken_rules(result: CaseResult) -> list[str]:
    """The ids of the rules that were violated, in the contract's order."""
    return [rule for rule, found in result.rules.items() if found.verdict is Ruling.VIOLATED]


@dataclass
class JudgedCase:
    """A case of a run: its number, from 1 on and 0 for the rehearsal, what it was made of, and what
    it came to."""

    number: int
    setup: Setup
    result: CaseResult
    minimised: "JudgedCase | None" = None
    """The smaller case that breaks the same rules."""

    def document(self) -> dict[str, Any]:
        """Its JSON: all that it takes to carry it out again, and what was seen."""
        smaller = {"minimised": self.minimised.document()} if self.minimised else {}
        return {
            "number": self.number,
            "name": self.setup.name,
            **self.result.document(),
            **self.setup.document(),
            **smaller,
        }


@dataclass(kw_only=True)
class Report(Outcome):
    """A run of the suite, or of cases of it."""

    plant: Plant
    path: CopyPath
    cases: list[JudgedCase] = field(default_factory=list)
    not_supported: str = ""
    """What was said when the path did not work even without a fault, or none of the actions can."""
    lacking: dict[str, str] = field(default_factory=dict)
    """Actions that the guest's kernel cannot carry out, with what it said; they were left out."""

    @property
    def failed(self) -> bool:
        """Whether a rule does not hold somewhere, or nothing could be exercised."""
        held = all(case.result.verdict == "holds" for case in self.cases)
        return bool(self.not_supported) or not held

    @property
    def exit_status(self) -> int:
        """That no fault was possible does not undo what was found without one."""
        found = any(case.result.verdict == "violated" for case in self.cases)
        return 1 if found and isinstance(self.error, UsageError) else super().exit_status

    def counts(self) -> dict[str, int]:
        """Cases by verdict."""
        return dict(Counter(case.result.verdict for case in self.cases))

    def _found(self) -> dict[str, Any]:
        timeout = int(self.profile.guest.nvme_io_timeout)
        return {
            "path": self.path.name,
            "on": self.path.ref,
            "not_supported": self.not_supported or None,
            "lacking": self.lacking,
            "notes": [
                f"nvme_core.io_timeout={timeout}: a held copy must not run into a timeout",
                "max_retries=0 (nvme_core, sd): a fault that strikes once reaches whoever asked",
            ],
            "capabilities": self.capabilities,
            "plant": self.plant.kind or None,
            "verdicts": self.counts(),
            "cases": [case.document() for case in self.cases],
        }
