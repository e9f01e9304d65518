# SPDX-License-Identifier: GPL-2.0-or-later
"""What the rules make of the sectors that the oracle has seen, and of damage that the lab did."""

from lab.copy.contract.facts import Facts
from lab.copy.contract.verdict import Ruling, Verdict, holds, violated
from lab.copy.oracle import Findings, SectorState

SHOWN = 3
"""Offending sectors quoted in a verdict; the run's directory has them all."""


def quote(findings: Findings, sectors: list[int]) -> str:
    """The first few offending sectors with what they hold."""
    shown = [f"sector {at}: {findings.notes.get(at, 'old data')}" for at in sectors[:SHOWN]]
    more = len(sectors) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def not_new(findings: Findings) -> list[int]:
    """The destination sectors that do not hold the source's data."""
    start = findings.copy.destination
    return [
        start + at for at, state in enumerate(findings.destination) if state is not SectorState.NEW
    ]


def caught_damage(facts: Facts, damaged: tuple[int, ...], offending: list[int]) -> Verdict | None:
    """The verdict of a rule that must notice what the lab damaged, and nothing but that.

    None if nothing was damaged, or more is wrong than that: then the rule is violated as ever.
    """
    corrupted = set(damaged)
    unseen = sorted(corrupted - set(offending))
    if unseen:
        return violated(f"sector {unseen[0]} was damaged on the medium, and nothing shows it")
    if not corrupted or corrupted != set(offending):
        return None
    quoted = quote(facts.findings, offending)
    return Verdict(Ruling.CAUGHT, f"damaged on the medium, and seen: {quoted}")


def all_new(findings: Findings, when: str) -> Verdict:
    """Holds where all of the destination is new, as it must be `when`."""
    missing = not_new(findings)
    if missing:
        return violated(f"{when}, yet {len(missing)} sectors are not: {quote(findings, missing)}")
    return holds(f"{when}; all {len(findings.destination)} sectors are")
