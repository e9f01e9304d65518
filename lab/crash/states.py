# SPDX-License-Identifier: GPL-2.0-or-later
"""Which crash states of an epoch are looked at: pure enumeration, by numbers of writes alone.

A state is named by what the volatile cache lost when power went: of the first `written` writes of
the epoch, those in `lost`, and those in `torn` but for their first units.  A unit is what the
device writes whole, its logical block.  All other writes are there, and all of earlier epochs.

Enumerated are, for each number of writes that were logged and each level (what had been promised by
then, see marks.py):

- the prefix: nothing lost;
- every choice of at most `losses` lost writes, or as many as stay within `limit` states an epoch;
- the last write torn at each unit, and a write with FUA too, which may be under way;
- where all writes of the epoch or of a level are logged, each of them torn at each unit;
- of several devices, where all writes of the epoch or of a level are logged, and before one with
  FUA, each device cut on its own: of what it has not flushed the first writes are there; where that
  are too many states, one device is, and the others have all;
- of each group (the ranges of a copy): each range lost, kept or torn in its middle;
- and `samples` states drawn from the seed, which lose and tear anything.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, product
from math import comb, prod

_CUTS = 400
"""States in which each device is cut on its own, up to which all are enumerated at a moment."""

_GROUP = 6
"""Ranges of a copy up to which all of lost, kept and torn are enumerated: 729 states."""


@dataclass(frozen=True, slots=True)
class CrashState:
    """What a power cut left of an epoch; numbers are those of writes in it, from 0 on."""

    written: int
    cut: int
    lost: tuple[int, ...] = ()
    torn: tuple[tuple[int, int], ...] = ()
    """Write, and how many of its units are there."""

    def kept(self) -> tuple[int, tuple[tuple[int, int], ...]]:
        """The same content from the same epoch gives the same: a bit for each write that is there,
        and the torn ones."""
        bits = (1 << self.written) - 1
        for number in (*self.lost, *(number for number, _ in self.torn)):
            bits &= ~(1 << number)
        return bits, self.torn


@dataclass(frozen=True)
class EpochShape:
    """Of an epoch, what enumeration must know.

    `units`: of each write, how many units; `fua`: which are durable by themselves; `first`: writes
    that are in the log at the epoch's first cut; `cut`: the first cut with so many writes; `last`:
    the last cut; `level`: what had been promised at a cut; `groups`: writes that belong together;
    `devices`: of each write the device that got it, where there are several.
    """

    units: Sequence[int]
    fua: frozenset[int]
    first: int
    cut: Callable[[int], int]
    last: int
    level: Callable[[int], int]
    groups: Sequence[Sequence[int]] = ()
    devices: Sequence[int] = ()

    @property
    def volatile(self) -> int:
        """Writes that a power cut at its end can lose."""
        return len(self.units) - len(self.fua)

    def moments(self) -> Iterator[tuple[int, int, bool]]:
        """Writes in the log and a cut for each, once for each level; and whether it is the last
        moment of its level."""
        found = []
        for written in range(self.first, len(self.units) + 1):
            start = self.cut(written)
            end = self.cut(written + 1) - 1 if written < len(self.units) else self.last
            seen = None
            for cut in range(start, max(start, end) + 1):
                if (level := self.level(cut)) != seen:
                    found.append((written, cut, level))
                    seen = level
        for at, (written, cut, level) in enumerate(found):
            last = at + 1 == len(found) or found[at + 1][2] != level
            yield written, cut, last


@dataclass(frozen=True)
class StatePlan:
    """How much of an epoch is looked at; see the top of this file."""

    losses: int = 2
    samples: int = 1000
    limit: int = 50_000
    tears: bool = True
    seed: int = 1


@dataclass
class EpochCoverage:
    """How much of an epoch was looked at, and of how much.

    `losses`: up to how many lost writes were enumerated; `whole`: sets of kept writes that were, of
    2**`volatile` that there can be.
    """

    volatile: int
    units: int
    losses: int
    enumerated: int = 0
    whole: int = 0
    torn: int = 0
    distinct: int = 0
    """States whose content had not come before, at their level: these are judged."""
    wrong: int = 0
    """Of these, how many may not be."""
    _seen: set[object] = field(default_factory=set, repr=False)

    def count(self, state: CrashState) -> None:
        """A state was enumerated."""
        self.enumerated += 1
        kept = state.kept()
        if kept in self._seen:
            return
        self._seen.add(kept)
        if state.torn:
            self.torn += 1
        else:
            self.whole += 1

    def end(self) -> None:
        """All states of the epoch were enumerated: which they were is not kept."""
        self._seen.clear()

    @property
    def share(self) -> float:
        """Of the sets of whole writes, the part that was enumerated."""
        return self.whole / 2**self.volatile if self.volatile < 1000 else 0.0


def possible_torn(shape: EpochShape) -> int:
    """How many states there can be where each volatile write may be cut at each unit."""
    volatile = (count for number, count in enumerate(shape.units) if number not in shape.fua)
    return prod(count + 1 for count in volatile)


def losses_within(shape: EpochShape, plan: StatePlan) -> int:
    """The most losses, up to those planned and those that there can be, of which all choices stay
    within the plan's limit."""
    moments = [written for written, _, _ in shape.moments()]
    volatile = [sum(number not in shape.fua for number in range(written)) for written in moments]
    for losses in range(min(plan.losses, max(volatile, default=0)), 0, -1):
        if sum(comb(v, j) for v in volatile for j in range(losses + 1)) <= plan.limit:
            return losses
    return 0


def enumerate_states(shape: EpochShape, plan: StatePlan) -> Iterator[CrashState]:
    """The states of an epoch that are looked at, some of them several times, in an order that is
    always the same: by the number of writes, samples last."""
    losses = losses_within(shape, plan)
    moments = list(shape.moments())
    for written, cut, last in moments:
        volatile = [number for number in range(written) if number not in shape.fua]
        for count in range(losses + 1):
            for lost in combinations(volatile, count):
                yield CrashState(written, cut, lost)
        if plan.tears:
            yield from _tears(shape, written, cut, volatile if last else volatile[-1:])
        if last or written in shape.fua:
            for lost in _behind(shape, volatile):
                yield CrashState(written, cut, lost)
        for group in shape.groups:
            if _group_is_due(group, written, last=last):
                yield from _group(shape, written, cut, group, plan)
    yield from _samples(shape, plan, moments)


def count_states(shape: EpochShape, plan: StatePlan) -> int:
    """How many states are enumerated, without going through them."""
    losses, found = losses_within(shape, plan), 0
    for written, _, last in shape.moments():
        volatile = [number for number in range(written) if number not in shape.fua]
        found += sum(comb(len(volatile), count) for count in range(losses + 1))
        if plan.tears:
            torn = volatile if last else volatile[-1:]
            under_way = [written] if written in shape.fua else []
            found += sum(max(0, shape.units[number] - 1) for number in [*torn, *under_way])
        found += len(_behind(shape, volatile)) if last or written in shape.fua else 0
        for group in shape.groups:
            if _group_is_due(group, written, last=last):
                members = sum(number not in shape.fua for number in group)
                every = (3 if plan.tears else 2) ** members
                found += every if members <= _GROUP else min(3**_GROUP, plan.samples)
    return found + (plan.samples if shape.volatile > 1 else 0)


def _group_is_due(group: Sequence[int], written: int, *, last: bool) -> bool:
    """Whether the choices of a group are enumerated at a moment: when it is complete, and at the
    last of each level."""
    return bool(group) and (max(group) == written - 1 or (last and max(group) < written))


def _tears(
    shape: EpochShape, written: int, cut: int, numbers: Sequence[int]
) -> Iterator[CrashState]:
    for number in numbers:
        for units in range(1, shape.units[number]):
            yield CrashState(written, cut, (), ((number, units),))
    if written in shape.fua:
        # It is under way: whoever asked for it has been told nothing.
        for units in range(1, shape.units[written]):
            yield CrashState(written + 1, cut, (), ((written, units),))


def _behind(shape: EpochShape, volatile: Sequence[int]) -> list[tuple[int, ...]]:
    """What is lost where each device is cut on its own, and one of them at least has not all."""
    if not shape.devices:
        return []
    caches: dict[int, list[int]] = {}
    for number in volatile:
        caches.setdefault(shape.devices[number], []).append(number)
    ends = [[tuple(cache[kept:]) for kept in range(len(cache))] for cache in caches.values()]
    if prod(len(each) + 1 for each in ends) - 1 > _CUTS:
        return [lost for each in ends for lost in each]
    chosen = product(*([*each, ()] for each in ends))
    return [tuple(sorted(chain(*lost))) for lost in chosen if any(lost)]


def _group(
    shape: EpochShape, written: int, cut: int, group: Sequence[int], plan: StatePlan
) -> Iterator[CrashState]:
    """Each write of a group lost, kept or torn; drawn where these are too many."""
    members = [number for number in group if number not in shape.fua]
    if len(members) <= _GROUP:
        choices = product("lkt" if plan.tears else "lk", repeat=len(members))
        yield from (_chosen(shape, written, cut, members, choice) for choice in choices)
        return
    dice = random.Random(f"{plan.seed}:{written}:{members[0]}")
    for _ in range(min(3**_GROUP, plan.samples)):
        choice = tuple(dice.choice("lkt" if plan.tears else "lk") for _ in members)
        yield _chosen(shape, written, cut, members, choice)


def _chosen(
    shape: EpochShape, written: int, cut: int, members: Sequence[int], choice: Sequence[str]
) -> CrashState:
    lost = tuple(number for number, what in zip(members, choice, strict=True) if what == "l")
    torn = tuple(
        (number, shape.units[number] // 2)
        for number, what in zip(members, choice, strict=True)
        if what == "t" and shape.units[number] > 1
    )
    return CrashState(written, cut, lost, torn)


def _samples(
    shape: EpochShape, plan: StatePlan, moments: Sequence[tuple[int, int, bool]]
) -> Iterator[CrashState]:
    """States that lose and tear anything, where losses alone are not all that there are."""
    if shape.volatile <= 1:
        return
    dice = random.Random(f"{plan.seed}:samples:{moments[0][1]}")
    for _ in range(plan.samples):
        written, cut, _ = dice.choice(moments)
        lost, torn = [], []
        for number in range(written):
            if number in shape.fua:
                continue
            chance = dice.random()
            if chance < 0.5:
                lost.append(number)
            elif plan.tears and chance < 0.625 and shape.units[number] > 1:
                torn.append((number, dice.randrange(1, shape.units[number])))
        yield CrashState(written, cut, tuple(lost), tuple(torn))
