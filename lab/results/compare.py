# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run did otherwise than its baseline: pure, from outcomes to changes.

An outcome is a case that passed or not, or a rule of the contract that held in a case or not.  A
change counts as such only when the baseline's own flakiness does not explain it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import comb
from typing import NamedTuple

from lab.results.tally import Tally
from lab.results.whereabouts import Hosts, alone, remark

CHANCE = 0.05
"""A change is significant when the baseline would behave like that less often than this."""


class Item(NamedTuple):
    """What is compared: a case of a suite on a profile, or a rule in it."""

    suite: str
    profile: str
    case: str
    rule: str = ""
    """Empty for the case as a whole."""

    @property
    def title(self) -> str:
        """How people call it within its suite and profile."""
        return f"{self.case}: {self.rule}" if self.rule else self.case


@dataclass
class Outcomes:
    """What came of items, counted; made to be fed with many."""

    passed: Counter[Item] = field(default_factory=Counter)
    ran: Counter[Item] = field(default_factory=Counter)
    reasons: dict[Item, str] = field(default_factory=dict)
    """Why an item failed the first time."""
    hosts: dict[Item, dict[str, Tally]] = field(default_factory=dict)
    """The same counts by host, of outcomes whose host is known."""

    def add(self, item: Item, passed: bool | None, reason: str = "", host: str = "") -> None:
        """Count an outcome; `passed` is None where the item was not run."""
        if host and passed is not None:
            there = self.hosts.setdefault(item, {})
            before = there.get(host, Tally())
            there[host] = Tally(before.passed + passed, before.ran + 1)
        # With nothing added the item is known all the same.
        self.ran[item] += passed is not None
        if passed:
            self.passed[item] += 1
        elif passed is False:
            self.reasons.setdefault(item, reason)

    def tally(self, item: Item) -> Tally | None:
        """How often an item passed; None where it is not known."""
        return Tally(self.passed[item], self.ran[item]) if item in self.ran else None


class ChangeKind(StrEnum):
    """The kinds of changes, what matters most first."""

    REGRESSED = "regressed"
    NEW_FAILING = "new, failing"
    FIXED = "fixed"
    FLAKY = "flaky"
    STILL_FAILING = "still failing"
    NEW = "new"
    NOT_RUN = "not run"
    SAME = "same"


BAD = frozenset({ChangeKind.REGRESSED, ChangeKind.NEW_FAILING})
"""What makes a comparison end with exit status 1."""


@dataclass(frozen=True)
class ItemDifference:
    """An item with what became of it; `tally` is the run's, `baseline` with its history."""

    item: Item
    change: ChangeKind
    baseline: Tally
    tally: Tally
    reason: str = ""
    """Why it failed in the run."""
    hosts: str = ""
    """What hosts have to do with its failure; '' for nothing that is known."""


def compare(base: Outcomes, run: Outcomes) -> list[ItemDifference]:
    """Every item of either side, sorted by change.

    `base` has the outcomes of the baseline and of all runs like it that tell how flaky it is.
    """
    found = []
    for item in {**base.ran, **run.ran}:
        before, after = base.tally(item), run.tally(item)
        there, here = base.hosts.get(item, {}), run.hosts.get(item, {})
        change = _by_host(judge(before, after), there, here)
        reason, where = run.reasons.get(item, ""), remark(there, here)
        found.append(
            ItemDifference(item, change, before or Tally(), after or Tally(), reason, where)
        )
    order = {change: number for number, change in enumerate(ChangeKind)}
    return sorted(found, key=lambda one: (order[one.change], one.item))


def judge(base: Tally | None, run: Tally | None) -> ChangeKind:
    """What became of an item; None where a side does not know it, nothing ran where it did not."""
    if run is None or run.ran == 0:
        return ChangeKind.SAME if base is None or base.ran == 0 else ChangeKind.NOT_RUN
    if base is None or base.ran == 0:
        return ChangeKind.NEW_FAILING if run.passed == 0 else ChangeKind.NEW
    if run.failed and tail(run.failed, run.ran, base.failed / base.ran) < CHANCE:
        return ChangeKind.REGRESSED
    if run.passed and tail(run.passed, run.ran, base.passed / base.ran) < CHANCE:
        return ChangeKind.FIXED
    if run.failed == 0:
        return ChangeKind.SAME
    return ChangeKind.FLAKY if run.mixed or base.mixed else ChangeKind.STILL_FAILING


def _by_host(change: ChangeKind, base: Hosts, run: Hosts) -> ChangeKind:
    """A change with the hosts as a source of flakiness: what failed on one of them alone regressed
    only if it did so on that host by itself."""
    host = alone(run)
    if change is not ChangeKind.REGRESSED or not host:
        return change
    own = judge(base.get(host), run[host])
    return change if own is ChangeKind.REGRESSED else ChangeKind.FLAKY


def tail(hits: int, tries: int, rate: float) -> float:
    """The probability of at least `hits` in `tries`, each with probability `rate` (binomial)."""
    return sum(
        comb(tries, count) * rate**count * (1 - rate) ** (tries - count)
        for count in range(hits, tries + 1)
    )


def counts(differences: Sequence[ItemDifference]) -> dict[str, int]:
    """Items by change, those that occur only."""
    found = Counter(one.change for one in differences)
    return {change.value: found[change] for change in ChangeKind if found[change]}
