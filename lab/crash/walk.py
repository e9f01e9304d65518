# SPDX-License-Identifier: GPL-2.0-or-later
"""The crash states of a whole log, one by one: enumerated, those of the same content only once."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
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
    count_states,
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

    def __iter__(self) -> Iterator["EpochWalk"]:
        """The epochs, one by one; the next is asked for when the one before has been walked."""
        clone(self.base, self.durable)
        seen: set[int] = set()
        with self.durable.open("r+b", buffering=0) as file:
            hashed = 0
            for epoch in epochs(self.log):
                mosaic = Mosaic(self.log, epoch, file.fileno(), self.log.sector, self.weigh)
                yield EpochWalk(self, epoch, mosaic, hashed, file.fileno(), seen)
                durable = made_durable(epoch)
                hashed ^= mosaic.evaluate(durable, self.levels.at(epoch.last)).hash
                apply(self.log, epoch, durable, file.fileno())


class EpochWalk:
    """The states of an epoch; to be iterated over once."""

    def __init__(
        self, walk: LogWalk, epoch: Epoch, mosaic: Mosaic, hashed: int, durable: int,
        seen: set[int],
    ) -> None:  # fmt: skip
        self.epoch = epoch
        self._walk = walk
        self._mosaic = mosaic
        self._hashed = hashed
        self._durable = durable
        self._seen = seen
        self._whole: dict[int, int] = {}
        self.shape = EpochShape(
            mosaic.units, mosaic.fua, epoch.written(epoch.first), epoch.cut, epoch.last,
            walk.levels.at, walk.groups(epoch) if walk.groups else (),
            epoch.devices() if walk.log.region else (),
        )  # fmt: skip
        units = sum(count for at, count in enumerate(self.shape.units) if at not in self.shape.fua)
        self.coverage = EpochCoverage(
            self.shape.volatile, units, losses_within(self.shape, walk.plan)
        )

    @property
    def expected(self) -> int:
        """How many states are enumerated."""
        return count_states(self.shape, self._walk.plan)

    def __iter__(self) -> Iterator[DistinctState]:
        levels, coverage = self._walk.levels, self.coverage
        for state in enumerate_states(self.shape, self._walk.plan):
            coverage.count(state)
            level = levels.at(state.cut)
            found = self._mosaic.evaluate(state, level)
            key = self._hashed ^ found.hash ^ _of_level(level)
            if key in self._seen:
                continue
            self._seen.add(key)
            coverage.distinct += 1
            weight = self._durable_weight(level) + found.weight
            coverage.wrong += weight > 0
            yield DistinctState(self.epoch, state, level, self._hashed ^ found.hash, weight)
        coverage.end()

    def _durable_weight(self, level: int) -> int:
        if level not in self._whole:
            whole = self._walk.whole
            self._whole[level] = whole(level, self._durable) if whole else 0
        return self._whole[level]


@cache
def _of_level(level: int) -> int:
    return int.from_bytes(blake2b(level.to_bytes(8, "little"), digest_size=16).digest(), "little")


def made_durable(epoch: Epoch) -> CrashState:
    """What the end of an epoch has made durable: all of it, but for what other devices have."""
    return CrashState(len(epoch), epoch.last, epoch.left())


def apply(log: WriteLog, epoch: Epoch, state: CrashState, medium: int) -> None:
    """Write to an open medium what a state has of an epoch.

    The medium is as it was when the epoch began.  In pieces: whatever an entry's length, little of
    it is in memory.
    """
    lost, torn = frozenset(state.lost), dict(state.torn)
    for number in range(state.written):
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
