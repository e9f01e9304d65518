# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of crash-states has come to: cases, how much was looked at, and what failed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.crash.excerpt import LogExcerpt
from lab.crash.states import EpochCoverage
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.outcome import Results


@dataclass(frozen=True)
class CoverageRow:
    """How much of an epoch was looked at; `name` is that of its case, or its case and number."""

    name: str
    coverage: EpochCoverage
    seconds: float
    cpu: float
    """Seconds of processor time of the lab itself."""
    looked: int | None = None
    """States that a guest was given; None where the host judges all that are distinct."""
    checked: int = 0
    """States that it was given although it was known what it would find."""

    @property
    def judged(self) -> int:
        """States that were judged by themselves."""
        return self.coverage.distinct if self.looked is None else self.looked

    def document(self) -> dict[str, Any]:
        """Its JSON.  `share`: the part of all sets of whole writes that a power cut may keep."""
        seen = self.coverage
        return {
            "name": self.name,
            "volatile": seen.volatile,
            "units": seen.units,
            "losses": seen.losses,
            "enumerated": seen.enumerated,
            "whole": seen.whole,
            "torn": seen.torn,
            "share": seen.share,
            "distinct": seen.distinct,
            "judged": self.judged,
            "checked": self.checked,
            "wrong": seen.wrong,
            "seconds": round(self.seconds, 3),
            "cpu": round(self.cpu, 3),
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "CoverageRow":
        """The row of such a JSON, of a file system.  Raises KeyError or TypeError."""
        seen = EpochCoverage(document["volatile"], document["units"], document["losses"])
        for name in ("enumerated", "whole", "torn", "distinct", "wrong"):
            setattr(seen, name, document[name])
        return cls(
            document["name"], seen, document["seconds"], document["cpu"], document["judged"],
            document["checked"],
        )  # fmt: skip


@dataclass(frozen=True)
class StateFailure:
    """The first state of a kind that breaks rules, and the smallest found that does."""

    number: int
    case: str
    rules: tuple[str, ...]
    evidence: tuple[str, ...]
    states: int
    """Of its case, how many states broke a rule."""
    operations: tuple[int, ...]
    loss: PowerLoss
    first: PowerLoss
    log: LogExcerpt | None = None
    """The log around it, for a picture."""

    def document(self) -> dict[str, Any]:
        """Its JSON, enough to replay it with what lies in the run's directory."""
        return {
            "number": self.number,
            "case": self.case,
            "rules": list(self.rules),
            "evidence": list(self.evidence),
            "states": self.states,
            "operations": list(self.operations),
            "loss": self.loss.document(),
            "first": self.first.document(),
            "log": self.log and self.log.document(),
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "StateFailure":
        """The failure of such a JSON.  Raises KeyError, TypeError or ValueError."""
        return cls(
            document["number"], document["case"], tuple(document["rules"]),
            tuple(document["evidence"]), document["states"], tuple(document["operations"]),
            PowerLoss.read(document["loss"]), PowerLoss.read(document["first"]),
            LogExcerpt.read(document["log"]) if document.get("log") else None,
        )  # fmt: skip


@dataclass(kw_only=True)
class CrashReport(Results):
    """A run of the suite."""

    workload: str
    coverage: list[CoverageRow] = field(default_factory=list)
    failures: list[StateFailure] = field(default_factory=list)
    checked: int = 0
    """States that were judged a second time, by the oracle and the contract on the whole medium."""

    wall: float = 0.0
    """Seconds that guests took for their states, from the first to the last; 0 where there are
    none."""

    @property
    def enumerated(self) -> int:
        """States of all epochs, whatever they hold."""
        return sum(row.coverage.enumerated for row in self.coverage)

    @property
    def distinct(self) -> int:
        """States of different content, or for which different things had been promised."""
        return sum(row.coverage.distinct for row in self.coverage)

    @property
    def judged(self) -> int:
        """Of these, those that were judged by themselves; a guest could not tell the others from
        one of them."""
        return sum(row.judged for row in self.coverage)

    @property
    def cpu(self) -> float:
        """Seconds of processor time that they took on the host."""
        return sum(row.cpu for row in self.coverage)

    def _found(self) -> dict[str, Any]:
        return {
            **super()._found(),
            "workload": self.workload,
            "states": {
                "enumerated": self.enumerated,
                "distinct": self.distinct,
                "judged": self.judged,
                "checked": self.checked + sum(row.checked for row in self.coverage),
                "seconds": round(sum(row.seconds for row in self.coverage), 3),
                "cpu": round(self.cpu, 3),
                "wall": round(self.wall, 3),
            },
            "coverage": [row.document() for row in self.coverage],
            "failures": [failure.document() for failure in self.failures],
        }


def cuts(rows: Sequence[CoverageRow]) -> float:
    """How many times fewer states were judged than enumerated."""
    judged = sum(row.judged for row in rows)
    return sum(row.coverage.enumerated for row in rows) / judged if judged else 1.0
