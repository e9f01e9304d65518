# SPDX-License-Identifier: GPL-2.0-or-later
"""The crash states of a whole log, one by one: enumerated, those of the same content only once."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from lab.crash.epochs import Epoch, epochs
from lab.crash.logfile import WriteLog
from lab.crash.marks import Levels
from lab.crash.mosaic import Mosaic, Weigh
from lab.crash.states import (
    CrashState,
    EpochCoverage,
    EpochShape,
    StatePlan,
    enumerate_states,
    losses_within,
)
from lab.host.clone import clone

_COPY = 1 << 20

Groups = Callable[[Epoch], Sequence[Sequence[int]]]
"""Which writes of an epoch belong together, by their numbers in it."""

Whole = Callable[[int, int], int]
"""From a level, and an open file that holds what is durable, to how much is wrong with it."""


@dataclass(frozen=True)
class DistinctState:
    """A crash state whose content had not come before, at its level."""

    epoch: Epoch
    state: CrashState
    level: int
    hash: int
    weight: int


@dataclass
class EpochTally:
    """What came of an epoch."""

    number: int
    first: int
    last: int
    coverage: EpochCoverage
    distinct: int = 0
    wrong: int = 0


@dataclass
class LogWalk:
    """A walk over the states of a log; `base` is the medium as it was when the log began, `durable`
    a file of the walk's own, which at each epoch holds what was durable at its beginning.

    `levels` says what had been promised by a cut: one content is judged once for each.  `weigh` and
    `whole` judge a content as it is hashed; without them all weights are 0.
    """

    log: WriteLog
    base: Path
    durable: Path
    plan: StatePlan
    levels: Levels
    weigh: Weigh | None = None
    whole: Whole | None = None
    groups: Groups | None = None
    tallies: list[EpochTally] = field(default_factory=list)
    """Of the epochs so far; the last one grows."""

    def __iter__(self) -> Iterator[DistinctState]:
        self.tallies.clear()
        clone(self.base, self.durable)
        seen: set[int] = set()
        with self.durable.open("r+b", buffering=0) as file:
            hashed = 0
            for epoch in epochs(self.log):
                mosaic = Mosaic(self.log, epoch, file.fileno(), self.log.sector, self.weigh)
                yield from self._states(epoch, mosaic, hashed, file.fileno(), seen)
                hashed ^= mosaic.final(self.levels.at(epoch.last)).hash
                apply(self.log, epoch, None, file.fileno())

    def shape(self, epoch: Epoch, mosaic: Mosaic) -> EpochShape:
        """What enumeration is told of an epoch."""
        return EpochShape(
            mosaic.units, mosaic.fua, epoch.written(epoch.first), epoch.cut, epoch.last,
            self.levels.at, self.groups(epoch) if self.groups else (),
        )  # fmt: skip

    def _states(
        self, epoch: Epoch, mosaic: Mosaic, hashed: int, durable: int, seen: set[int]
    ) -> Iterator[DistinctState]:
        shape = self.shape(epoch, mosaic)
        units = sum(count for number, count in enumerate(shape.units) if number not in shape.fua)
        coverage = EpochCoverage(shape.volatile, units, losses_within(shape, self.plan))
        tally = EpochTally(epoch.number, epoch.first, epoch.last, coverage)
        self.tallies.append(tally)
        whole: dict[int, int] = {}
        for state in enumerate_states(shape, self.plan):
            coverage.count(state)
            level = self.levels.at(state.cut)
            found = mosaic.evaluate(state, level)
            key = hashed ^ found.hash ^ _of_level(level)
            if key in seen:
                continue
            seen.add(key)
            if level not in whole:
                whole[level] = self.whole(level, durable) if self.whole else 0
            weight = whole[level] + found.weight
            tally.distinct += 1
            tally.wrong += weight > 0
            yield DistinctState(epoch, state, level, hashed ^ found.hash, weight)


def _of_level(level: int) -> int:
    return int.from_bytes(blake2b(level.to_bytes(8, "little"), digest_size=16).digest(), "little")


def apply(log: WriteLog, epoch: Epoch, state: CrashState | None, medium: int) -> None:
    """Write to an open medium what a state has of an epoch; all of it without a state.

    The medium is as it was when the epoch began.  In pieces: whatever an entry's length, little of
    it is in memory.
    """
    written = len(epoch) if state is None else state.written
    lost = frozenset(state.lost) if state else frozenset()
    torn = dict(state.torn) if state else {}
    for number in range(written):
        if number in lost:
            continue
        entry = epoch[number]
        end = torn[number] * log.sector if number in torn else entry.length
        for at in range(0, end, _COPY):
            data = log.data(entry, at, min(_COPY, end - at))
            os.pwrite(medium, data, entry.offset + at)


def build(log: WriteLog, found: DistinctState, durable: Path, medium: Path) -> None:
    """Make `medium` what a power cut left, given what was durable when its epoch began."""
    clone(durable, medium)
    with medium.open("r+b", buffering=0) as file:
        apply(log, found.epoch, found.state, file.fileno())
