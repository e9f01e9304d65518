"""What a run of the suite has come to: its cases, and its JSON."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.copy.contract import Ruling
from lab.copy.paths.base import CopyPath
from lab.copy.plant import Plant
from lab.errors import LabError, UsageError
from lab.profile.models import Profile
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.cell import Setup


def broken_rules(result: CaseResult) -> list[str]:
    """The ids of the rules that were violated, in the contract's order."""
    return [rule for rule, found in result.rules.items() if found.verdict is Ruling.VIOLATED]


@dataclass
class Judged:
    """A case of a run: its number, from 1 on and 0 for the rehearsal, what it was made of, and what
    it came to."""

    number: int
    setup: Setup
    result: CaseResult
    minimised: "Judged | None" = None
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


@dataclass
class Report:
    """A run of the suite as it grows; `error` is set when the lab had to break it off."""

    run: str
    directory: Path
    suite: str
    profile: Profile
    asked: dict[str, Any]
    """What the cases come from: the suite's options, or the case that is replayed."""
    plant: Plant
    path: CopyPath
    kernel: str = ""
    qemu: str = ""
    accelerator: str = ""
    accelerator_note: str = ""
    """Why it is not KVM."""
    capabilities: list[dict[str, Any]] = field(default_factory=list)
    """What the guest's kernel offers on each disk and layer."""
    cases: list[Judged] = field(default_factory=list)
    boot: float | None = None
    """Seconds that the guest took to boot; None if it was up before."""
    seconds: float = 0.0
    error: LabError | None = None
    not_supported: str = ""
    """What was said when the path did not work even without a fault, or none of the actions can."""
    lacking: dict[str, str] = field(default_factory=dict)
    """Actions that the guest's kernel cannot carry out, with what it said; they were left out."""

    @property
    def exit_status(self) -> int:
        """0: all rules hold everywhere; 1: not so, or nothing could be exercised; otherwise that of
        the lab's error.  That no fault was possible does not undo what was found without one."""
        found = any(case.result.verdict == "violated" for case in self.cases)
        if self.error and not (found and isinstance(self.error, UsageError)):
            return self.error.exit_status
        return int(
            bool(self.not_supported) or any(case.result.verdict != "holds" for case in self.cases)
        )

    def counts(self) -> dict[str, int]:
        """Cases by verdict."""
        return dict(Counter(case.result.verdict for case in self.cases))

    def document(self) -> dict[str, Any]:
        """The run's JSON."""
        timeout = int(self.profile.guest.nvme_io_timeout)
        return {
            "run": self.run,
            "suite": self.suite,
            "profile": self.profile.name,
            "path": self.path.name,
            "on": self.path.ref,
            "not_supported": self.not_supported or None,
            "lacking": self.lacking,
            "options": self.asked,
            "kernel": self.kernel,
            "qemu": self.qemu,
            "accelerator": self.accelerator,
            "notes": [
                f"nvme_core.io_timeout={timeout}: a held copy must not run into a timeout",
                "max_retries=0 (nvme_core, sd): a fault that strikes once reaches whoever asked",
            ],
            "capabilities": self.capabilities,
            "plant": self.plant.kind or None,
            "verdicts": self.counts(),
            "cases": [case.document() for case in self.cases],
            "boot": self.boot and round(self.boot, 3),
            "seconds": round(self.seconds, 3),
            "error": str(self.error) if self.error else None,
        }
