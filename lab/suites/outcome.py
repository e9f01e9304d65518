# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of a suite has come to, and its JSON."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.profile.models import Profile
from lab.results.cases import Case, counts, ratios
from lab.results.coverage import CoverageReport


@dataclass(kw_only=True)
class Outcome(ABC):
    """A run as it grows; `error` is set when the lab had to break it off."""

    run: str
    directory: Path
    suite: str
    profile: Profile
    asked: Mapping[str, Any]
    """What the cases come from: the suite's arguments, or the case that is replayed."""
    kernel: str = ""
    qemu: str = ""
    accelerator: str = ""
    accelerator_note: str = ""
    """Why it is not KVM."""
    capabilities: list[dict[str, Any]] = field(default_factory=list)
    """What the guest's kernel offers on each disk and layer."""
    boot: float | None = None
    """Seconds that the first guest took to boot; None if it was up before."""
    boots: list[dict[str, Any]] = field(default_factory=list)
    """How often its guests began, by way and reason (lab.results.run.Run.boots)."""
    executed: CoverageReport | None = None
    """Of a kernel that counts what it executes."""
    seconds: float = 0.0
    error: LabError | None = None

    @property
    @abstractmethod
    def failed(self) -> bool:
        """Whether a case came to what it must not."""

    @property
    def exit_status(self) -> int:
        """0: all well; 1: something failed; otherwise that of the lab's error."""
        return self.error.exit_status if self.error else int(self.failed)

    def document(self) -> dict[str, Any]:
        """The run's JSON."""
        return {
            "run": self.run,
            "suite": self.suite,
            "profile": self.profile.name,
            "options": dict(self.asked),
            **self._platform(),
            **self._found(),
            **({"executed": self.executed.document()} if self.executed else {}),
            "seconds": round(self.seconds, 3),
            "error": str(self.error) if self.error else None,
        }

    def _platform(self) -> dict[str, Any]:
        """What the run ran on."""
        return {
            "kernel": self.kernel,
            "qemu": self.qemu,
            "accelerator": self.accelerator,
            "boot": self.boot and round(self.boot, 3),
            "boots": self.boots,
        }

    @abstractmethod
    def _found(self) -> dict[str, Any]:
        """What the suite has to say."""


@dataclass(kw_only=True)
class Results(Outcome):
    """A run of a suite whose cases pass and fail."""

    sections: Mapping[str, str] = field(default_factory=dict)
    """The configuration of each section, as the suite reads it."""
    tree: str = ""
    speed: float = 1.0
    """How many times slower than hardware the guest was measured to be."""
    cases: list[Case] = field(default_factory=list)
    selected: int = 0
    """Results that there would be if the run were complete."""
    latency: list[dict[str, Any]] = field(default_factory=list)
    """What was measured, a row for each way (lab/suites/verity/latency.py)."""
    guest: str = ""
    """The guest that was left running, if one was."""

    @property
    def failed(self) -> bool:
        """Whether a case failed that was not known to."""
        return any(case.unexpected for case in self.cases)

    def _found(self) -> dict[str, Any]:
        repeated = ratios(self.cases)
        return {
            "sections": dict(self.sections),
            "tree": self.tree,
            "speed": self.speed,
            "capabilities": self.capabilities,
            "counts": counts(self.cases),
            "selected": self.selected,
            "unexpected": [case.title for case in self.cases if case.unexpected],
            "repaired": [case.title for case in self.cases if case.repaired],
            "flaky": {
                title: {"passed": passed, "of": of}
                for title, (passed, of) in repeated.items()
                if 0 < passed < of
            },
            "cases": [case.document() for case in self.cases],
            **({"latency": self.latency} if self.latency else {}),
        }
