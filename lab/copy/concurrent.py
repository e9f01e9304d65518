# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies and writes that run at once: what each sector may hold when all of them have ended.

Pure.  Nothing orders what runs at once, neither two operations nor the parts of one (NVMe Base
2.1, 3.4.1 Command Ordering Requirements): a block is read at some moment and written at a later
one, and only a logical block is written whole.  So a sector holds what the last of those that wrote
it brought there, and a copy brings whatever its source held at some moment.  All that some such
order leaves is allowed, and nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from lab.copy.model import Copy, Extent
from lab.copy.oracle import Findings, SectorState, Tagging, sectors, surroundings


class Origin(NamedTuple):
    """Whose data a sector may hold: those of sector `address`, as they were before (`writer` 0) or
    as the `writer`-th write made them, counted from 1."""

    address: int
    writer: int = 0


@dataclass(frozen=True)
class Rivals:
    """What runs at the same time as a copy: other copies, and writes of some extents."""

    copies: tuple[Copy, ...] = ()
    writes: tuple[Extent, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.copies or self.writes)

    def targets(self, copy: Copy) -> tuple[Extent, ...]:
        """Where the copy, the other copies and the writes write."""
        return (copy.target, *(each.target for each in self.copies), *self.writes)

    def document(self) -> dict[str, Any]:
        """Their JSON; addresses and lengths in sectors, extents as [start, sectors]."""
        return {
            "copies": [
                {
                    "sources": [[source.start, source.sectors] for source in each.sources],
                    "destination": each.destination,
                }
                for each in self.copies
            ],
            "writes": [[extent.start, extent.sectors] for extent in self.writes],
        }


ALONE = Rivals()
"""None."""


def outcomes(
    copies: Sequence[Copy], writes: Sequence[Extent], *, apart: bool = False
) -> dict[int, frozenset[Origin]]:
    """What each sector that any of them writes may hold once all have succeeded; `apart`: all
    copies read another disk, to which nothing is written.

    What a sector may hold at some moment grows by what may be written to it, until nothing new
    comes.  That is exact for each sector by itself: along the way that its data have come, each
    block was read before all others were written, and written after them.
    """
    readers: dict[int, list[int]] = {}
    for copy in copies:
        for target, source in copy.origins().items():
            readers.setdefault(source, []).append(target)
    brought: dict[int, set[Origin]] = {}
    arrived: list[tuple[int, Origin]] = []

    def bring(address: int, origin: Origin) -> None:
        if origin not in brought.setdefault(address, set()):
            brought[address].add(origin)
            arrived.append((address, origin))

    for number, extent in enumerate(writes, 1):
        for address in extent:
            bring(address, Origin(address, number))
    for source, targets in readers.items():
        for target in targets:
            bring(target, Origin(source))
    while arrived and not apart:
        address, origin = arrived.pop()
        for target in readers.get(address, ()):
            bring(target, origin)
    return {address: frozenset(origins) for address, origins in brought.items()}


@dataclass(frozen=True)
class Crowd:
    """A copy and its rivals, on a window that was tagged.

    `before`: the tags that the window had; `written`: those of each write.  `atom`: sectors of the
    smallest part that a disk writes whole.
    """

    copy: Copy
    rivals: Rivals
    before: Tagging
    written: tuple[Tagging, ...]
    atom: int

    def findings(self, data: bytes, source: bytes | None = None) -> tuple[Findings, ...]:
        """What became of the destinations of the copy, of the other copies and of the writes, in
        this order, given the window's bytes afterwards: a sector is new if some order of all of
        them leaves it so.  The first tells what changed where none of them writes as well.
        `source`: the bytes of the window that copies read, where that is another disk's."""
        seen = sectors(self.before.window, data)
        targets = self.rivals.targets(self.copy)
        states = {address: state for target in targets for address, state in self._of(target, seen)}
        copies = (self.copy, *self.rivals.copies)
        sources = {address for each in copies for part in each.sources for address in part}
        found = surroundings(self.before, seen, states, sources, source)
        odd = [at for at, state in states.items() if state not in WHOLE]
        odd += [at for at in found.neighbour if at not in found.source]
        notes = found.notes | {at: self._described(seen[at]) for at in odd}
        first, *others = (
            Findings(each, tuple(states[address] for address in each.target), (), (), 0, notes)
            for each in (*copies, *map(self._onto_itself, self.rivals.writes))
        )
        first = replace(
            first,
            changed_source=found.source,
            changed_neighbour=found.neighbour,
            checked_neighbours=found.neighbours,
        )
        return first, *others

    def _onto_itself(self, extent: Extent) -> Copy:
        """A write, as far as only its destination matters."""
        return Copy((extent,), extent.start, self.copy.unit)

    def _of(self, target: Extent, seen: Mapping[int, bytes]) -> Iterator[tuple[int, SectorState]]:
        """The sectors of a destination with their states, atom by atom."""
        for first in range(target.start, target.end, self.atom):
            block = range(first, first + self.atom)
            states = self._atom([seen[at] for at in block], block)
            yield from zip(block, states, strict=True)

    def _atom(self, found: list[bytes], block: range) -> list[SectorState]:
        """The states of the sectors of an atom; all of them must be as one operation left them."""
        old = [self.before.sector(at) for at in block]
        whole = [self._brought(origin) for origin in sorted(self._allowed[block.start])]
        if found in whole:
            return [SectorState.NEW] * self.atom
        if found == old:
            return [SectorState.OLD] * self.atom
        return [
            _worst(now, [was, *(each[at] for each in whole)])
            for at, (now, was) in enumerate(zip(found, old, strict=True))
        ]

    @cached_property
    def _allowed(self) -> dict[int, frozenset[Origin]]:
        copies = (self.copy, *self.rivals.copies)
        apart = self.before.source is not self.before
        return outcomes(copies, self.rivals.writes, apart=apart)

    def _brought(self, origin: Origin) -> list[bytes]:
        """The sectors of an atom that hold the data of one."""
        tagging = self.written[origin.writer - 1] if origin.writer else self.before.source
        return [tagging.sector(origin.address + at) for at in range(self.atom)]

    def _described(self, sector: bytes) -> str:
        """What a sector holds, in words; of which write, where it is one of these."""
        for number, tagging in enumerate(self.written, 1):
            if tagging.mark in sector:
                return f"of write {number}: {tagging.describe(sector)}"
        return self.before.describe(sector)


WHOLE = (SectorState.NEW, SectorState.OLD)


def _worst(now: bytes, possible: Sequence[bytes]) -> SectorState:
    """Of a sector in an atom that is not whole: torn if each of its bytes is one that some
    operation, or nobody, wrote there, foreign if one is not."""
    torn = all(byte in choices for byte, *choices in zip(now, *possible, strict=True))
    return SectorState.TORN if torn else SectorState.FOREIGN
