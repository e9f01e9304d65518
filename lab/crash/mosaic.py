# SPDX-License-Identifier: GPL-2.0-or-later
"""The contents of an epoch's crash states, hashed and weighed without building any of them.

The place that an epoch writes is divided where a write begins or ends.  In such a stretch the
content after a power cut is that of the last write that was kept, or what was durable before; only
where a write was torn is it a mixture.  Hash and weight of each stretch under each write are
reckoned once; a state differs from the prefix before it in the stretches of what it lost.

The hash of a content is the exclusive or, over all units, of a keyed hash of a unit's address and
bytes (an incremental hash in the sense of Bellare and Micciancio, 1997, against accidents, not
against an adversary): 128 bits.  Epochs share it: what is durable at the end of one is the
beginning of the next.  Units that an epoch does not touch cancel out.
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate, pairwise
from operator import xor
from typing import NamedTuple

from lab.crash.epochs import Epoch
from lab.crash.logfile import WriteLog
from lab.crash.states import CrashState
from lab.crash.writelog import Flag

_CHUNK = 1 << 20
"""Bytes of a stretch that are read at once; longer ones are divided."""

Weigh = Callable[[int, int, bytes], Sequence[int]]
"""From a level (what had been promised), the place of some bytes, and the bytes, to how much is
wrong with each of their units."""


class Weighed(NamedTuple):
    """The hash and the weight of a content, or of a part of one."""

    hash: int
    weight: int


@dataclass(frozen=True)
class MosaicPiece:
    """Bytes `start` to `end` of the medium, and the writes of the epoch that cover them, in the
    order of the log."""

    start: int
    end: int
    writers: tuple[int, ...]


class _Sums(NamedTuple):
    """Of a stretch under one write, hash and weight of its first units, by their number."""

    hashes: list[int]
    weights: list[int]


class Mosaic:
    """The stretches of an epoch.

    `durable` is an open file that holds what was durable when the epoch began; `unit` in bytes.
    """

    def __init__(
        self, log: WriteLog, epoch: Epoch, durable: int, unit: int, weigh: Weigh | None = None
    ) -> None:
        self._log = log
        self._durable = durable
        self._unit = unit
        self._weigh = weigh
        self._writes = list(epoch.writes())
        self.fua = frozenset(
            number for number, entry in enumerate(self._writes) if entry.flags & Flag.FUA
        )
        self.units = [entry.length // unit for entry in self._writes]
        self.stretches, self._of = _stretches(
            [(entry.offset, entry.offset + entry.length) for entry in self._writes]
        )
        size = max(1024, 4 * len(self.stretches))
        self._hashes = lru_cache(maxsize=size)(self._hashes_of)
        self._weights = lru_cache(maxsize=size)(self._weights_of)
        self._totals: dict[tuple[int, int, int], Weighed] = {}
        self._prefixes: dict[int, list[Weighed]] = {}

    def evaluate(self, state: CrashState, level: int) -> Weighed:
        """The content of a state, as a difference to what was durable before the epoch: to the
        hash by exclusive or, to the weight by addition."""
        prefix = self._prefix(level)[state.written]
        if not state.lost and not state.torn:
            return prefix
        written, lost = state.written, frozenset(state.lost)
        torn = dict(state.torn)
        hashed, weight = prefix
        for number in self._touched(state):
            now = self._total(number, self._last(number, written), level)
            then = self._value(number, written, lost, torn, level)
            hashed ^= now.hash ^ then.hash
            weight += then.weight - now.weight
        return Weighed(hashed, weight)

    def _touched(self, state: CrashState) -> Sequence[int]:
        """The stretches that what was lost or torn covers."""
        if len(state.lost) + len(state.torn) == 1:
            (number,) = state.lost or (state.torn[0][0],)
            return self._of[number]
        every = (*state.lost, *(number for number, _ in state.torn))
        return sorted({stretch for number in every for stretch in self._of[number]})

    def _prefix(self, level: int) -> list[Weighed]:
        """By the number of writes, the content when all of them are there."""
        if level not in self._prefixes:
            found = [Weighed(0, 0)]
            last = [-1] * len(self.stretches)
            for number in range(len(self._writes)):
                hashed, weight = found[-1]
                for stretch in self._of[number]:
                    now = self._total(stretch, last[stretch], level)
                    then = self._total(stretch, number, level)
                    hashed ^= now.hash ^ then.hash
                    weight += then.weight - now.weight
                    last[stretch] = number
                found.append(Weighed(hashed, weight))
            self._prefixes[level] = found
        return self._prefixes[level]

    def _last(self, stretch: int, written: int) -> int:
        """The last of the first `written` writes that covers a stretch; -1 if none does."""
        writers = self.stretches[stretch].writers
        at = bisect_left(writers, written)
        return writers[at - 1] if at else -1

    def _value(
        self, stretch: int, written: int, lost: frozenset[int], torn: dict[int, int], level: int
    ) -> Weighed:
        """A stretch in a state."""
        place = self.stretches[stretch]
        for at in range(bisect_left(place.writers, written) - 1, -1, -1):
            number = place.writers[at]
            if number in lost:
                continue
            if number not in torn:
                return self._total(stretch, number, level)
            units = self._units_there(place, number, torn[number])
            if units >= (place.end - place.start) // self._unit:
                return self._total(stretch, number, level)
            if units > 0:
                return self._mixed(stretch, number, units, written, lost, torn, level)
        return self._total(stretch, -1, level)

    def _units_there(self, place: MosaicPiece, number: int, kept: int) -> int:
        """How many units of a stretch a torn write has reached; none or less: not any."""
        return kept - (place.start - self._writes[number].offset) // self._unit

    def _mixed(
        self, stretch: int, number: int, units: int, written: int, lost: frozenset[int],
        torn: dict[int, int], level: int,
    ) -> Weighed:  # fmt: skip
        """A stretch whose first units are there of a torn write, and behind them what was before
        that; which may be such a mixture itself."""
        mine = self._sums(stretch, number, level)
        place = self.stretches[stretch]
        before = [n for n in place.writers if n < number and n not in lost]
        if any(n in torn for n in before):
            return self._unit_by_unit(stretch, written, lost, torn, level)
        old = self._sums(stretch, before[-1] if before else -1, level)
        return Weighed(
            mine.hashes[units] ^ old.hashes[-1] ^ old.hashes[units],
            mine.weights[units] + old.weights[-1] - old.weights[units],
        )

    def _unit_by_unit(
        self, stretch: int, written: int, lost: frozenset[int], torn: dict[int, int], level: int
    ) -> Weighed:
        place = self.stretches[stretch]
        hashed = weight = 0
        for unit in range((place.end - place.start) // self._unit):
            last = -1
            for number in place.writers:
                there = number not in torn or unit < self._units_there(place, number, torn[number])
                if number < written and number not in lost and there:
                    last = number
            sums = self._sums(stretch, last, level)
            hashed ^= sums.hashes[unit + 1] ^ sums.hashes[unit]
            weight += sums.weights[unit + 1] - sums.weights[unit]
        return Weighed(hashed, weight)

    def _total(self, stretch: int, number: int, level: int) -> Weighed:
        """A stretch under one write, or as it was before the epoch (-1)."""
        key = (stretch, number, level)
        if key not in self._totals:
            sums = self._sums(stretch, number, level)
            self._totals[key] = Weighed(sums.hashes[-1], sums.weights[-1])
        return self._totals[key]

    def _sums(self, stretch: int, number: int, level: int) -> _Sums:
        hashes = self._hashes(stretch, number)
        if self._weigh is None:
            return _Sums(hashes, [0] * len(hashes))
        return _Sums(hashes, self._weights(stretch, number, level))

    def _hashes_of(self, stretch: int, number: int) -> list[int]:
        place, unit = self.stretches[stretch], self._unit
        data = self._content(place, number)
        hashes = (_hash(place.start + at, data[at : at + unit]) for at in range(0, len(data), unit))
        return [0, *accumulate(hashes, xor)]

    def _weights_of(self, stretch: int, number: int, level: int) -> list[int]:
        assert self._weigh
        place = self.stretches[stretch]
        return [0, *accumulate(self._weigh(level, place.start, self._content(place, number)))]

    def _content(self, place: MosaicPiece, number: int) -> bytes:
        length = place.end - place.start
        if number < 0:
            return os.pread(self._durable, length, place.start).ljust(length, b"\0")
        entry = self._writes[number]
        return self._log.data(entry, place.start - entry.offset, length)


def _hash(address: int, data: bytes) -> int:
    key = address.to_bytes(8, "little")
    return int.from_bytes(blake2b(data, digest_size=16, key=key).digest(), "little")


def _stretches(extents: Sequence[tuple[int, int]]) -> tuple[list[MosaicPiece], list[list[int]]]:
    """The stretches into which extents divide what they cover, none longer than a chunk; and of
    each extent the numbers of its stretches."""
    edges = sorted({edge for extent in extents for edge in extent} | set(_long(extents)))
    writers: list[list[int]] = [[] for _ in edges]
    for number, (start, end) in enumerate(extents):
        for at in range(bisect_left(edges, start), bisect_left(edges, end)):
            writers[at].append(number)
    found: list[MosaicPiece] = []
    of: list[list[int]] = [[] for _ in extents]
    for (start, end), those in zip(pairwise(edges), writers, strict=False):
        if those:
            for number in those:
                of[number].append(len(found))
            found.append(MosaicPiece(start, end, tuple(those)))
    return found, of


def _long(extents: Sequence[tuple[int, int]]) -> Iterator[int]:
    for start, end in extents:
        yield from range(start + _CHUNK, end, _CHUNK)
