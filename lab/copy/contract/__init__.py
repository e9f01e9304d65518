# SPDX-License-Identifier: GPL-2.0-or-later
"""The contract: what a copy may leave behind, rule by rule (docs/contract.md).

`judge` is a pure function from Facts, everything that was observed of one copy under one fault, to
a verdict with evidence for each rule.  It knows no offload path and no device.
"""

from lab.copy.contract.facts import Aftermath, CachedCopy, Facts, Offload, Recovery
from lab.copy.contract.rules import RULES
from lab.copy.contract.verdict import Ruling, Verdict, not_applicable

__all__ = [
    "RULES", "Aftermath", "CachedCopy", "Facts", "Offload", "Recovery", "Ruling", "Verdict",
    "judge", "overall",
]  # fmt: skip


def judge(facts: Facts) -> dict[str, Verdict]:
    """The verdict for each rule of the contract, by rule id."""
    found = {rule: check(facts) for rule, check in RULES.items()}
    if facts.lied:
        for rule in _LIED_TO:
            if found[rule].verdict is Ruling.VIOLATED:
                said = f"{facts.lied}, and it shows: {found[rule].evidence}"
                found[rule] = Verdict(Ruling.CAUGHT, said)
    if facts.blind:
        for rule in _LIED_TO:
            if found[rule].verdict is Ruling.VIOLATED:
                found[rule] = not_applicable(f"{facts.blind}; seen: {found[rule].evidence}")
    return found


_LIED_TO = ("COMPLETE", "NO-FOREIGN", "SOURCE", "NEIGHBOUR", "DURABLE", "RECOVERS")
"""What no copy can keep when a layer below drops what it was given, or the log from which the
medium is rebuilt misses what was durable."""


def overall(facts: Facts, verdicts: dict[str, Verdict]) -> str:
    """The verdict of a case: `violated`, `fell back`, `not exercised` or `holds`.

    A copy that was not offloaded, or never came to the point, was not exercised, and one whose
    caller was served by reads and writes fell back: neither proves anything of an offload, unless
    it broke another rule on its way.  Where the copy could not tell, the same copy again does: if
    that was not offloaded, nothing says that this one was.
    """
    broken = {rule for rule, verdict in verdicts.items() if verdict.verdict is Ruling.VIOLATED}
    if broken - {"OFFLOADED"}:
        return "violated"
    if any(verdict.verdict is Ruling.FELL_BACK for verdict in verdicts.values()):
        return "fell back"
    told = verdicts["OFFLOADED"].verdict is not Ruling.NOT_APPLICABLE
    not_even_again = not told and facts.recovery.offload.against
    return "not exercised" if broken or not facts.reached or not_even_again else "holds"
