# SPDX-License-Identifier: GPL-2.0-or-later
"""What a rule comes to, and the evidence that it rests on."""

from dataclasses import dataclass
from enum import StrEnum


class Ruling(StrEnum):
    """What a rule came to."""

    HOLDS = "holds"
    VIOLATED = "violated"
    CAUGHT = "caught"
    """It noticed the damage that the lab itself had done, as it must."""
    FELL_BACK = "fell back"
    """The caller has its data, by reads and writes where an offload was asked for."""
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True)
class Verdict:
    """A ruling and what it rests on."""

    verdict: Ruling
    evidence: str


def holds(evidence: str) -> Verdict:
    """The rule is kept."""
    return Verdict(Ruling.HOLDS, evidence)


def violated(evidence: str) -> Verdict:
    """The rule is broken."""
    return Verdict(Ruling.VIOLATED, evidence)


def fell_back(evidence: str) -> Verdict:
    """The caller was served, and by reads and writes."""
    return Verdict(Ruling.FELL_BACK, evidence)


def not_applicable(why: str) -> Verdict:
    """The rule says nothing here."""
    return Verdict(Ruling.NOT_APPLICABLE, why)
