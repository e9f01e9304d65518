"""What a run of an external suite has come to: its cases, and its JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.results.cases import Case, counts, ratios


@dataclass
class Outcome:
    """A run as it grows; `error` is set when the lab had to break it off."""

    run: str
    directory: Path
    suite: str
    profile: str
    asked: Mapping[str, Any]
    """The suite's arguments."""
    sections: Mapping[str, str]
    """The configuration of each section, as the suite reads it."""
    tree: str
    kernel: str = ""
    qemu: str = ""
    accelerator: str = ""
    accelerator_note: str = ""
    """Why it is not KVM."""
    speed: float = 1.0
    """How many times slower than hardware the guest was measured to be."""
    capabilities: list[dict[str, Any]] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    selected: int = 0
    """Results that there would be if the run were complete."""
    boot: float | None = None
    """Seconds that the first guest took to boot."""
    latency: list[dict[str, Any]] = field(default_factory=list)
    """What was measured, a row for each way (lab/suites/verity/latency.py)."""
    seconds: float = 0.0
    guest: str = ""
    """The guest that was left running, if one was."""
    error: LabError | None = None

    @property
    def exit_status(self) -> int:
        """0: nothing failed that was not known to; 1: something did; otherwise that of the lab's
        error."""
        if self.error:
            return self.error.exit_status
        return int(any(case.unexpected for case in self.cases))

    def document(self) -> dict[str, Any]:
        """The run's JSON."""
        repeated = ratios(self.cases)
        return {
            "run": self.run,
            "suite": self.suite,
            "profile": self.profile,
            "options": dict(self.asked),
            "sections": dict(self.sections),
            "tree": self.tree,
            "kernel": self.kernel,
            "qemu": self.qemu,
            "accelerator": self.accelerator,
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
            "boot": self.boot and round(self.boot, 3),
            **({"latency": self.latency} if self.latency else {}),
            "seconds": round(self.seconds, 3),
            "error": str(self.error) if self.error else None,
        }
