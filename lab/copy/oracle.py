# SPDX-License-Identifier: GPL-2.0-or-later
"""The oracle: tags a medium before a copy and says afterwards what each sector became.

It reads the ground of the copy (lab/copy/ground.py): the raw medium from the host wherever that
can be, otherwise a file or device through the guest.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from itertools import groupby, islice
from typing import Any

from lab.copy.ground import Ground, Guess
from lab.copy.model import SECTOR, Copy, Extent
from lab.copy.tags import CANNOT_BE_READ, TAG_BYTES, Tag, describe, mark


class SectorState(StrEnum):
    """What became of a destination sector."""

    OLD = "old"
    NEW = "new"
    TORN = "torn"
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Tagging:
    """The tags that a medium was given: all of `window` carries them.

    `source_generation`: that of the same window of the disk that copies come from, where it is
    another one; 0 where it is the same.  What a kernel or device copies from the wrong disk has
    tags of its own by that.
    """

    window: Extent
    generation: int
    run: int
    source_generation: int = 0

    def sector(self, address: int) -> bytes:
        """The bytes that were written to sector `address`."""
        return Tag(address, self.generation, self.run).sector()

    @property
    def source(self) -> "Tagging":
        """The tags of the disk that copies come from: these, unless it is another one."""
        if not self.source_generation:
            return self
        return Tagging(self.window, self.source_generation, self.run)

    def describe(self, sector: bytes) -> str:
        """What a sector of the window holds, in words."""
        return describe(sector, self.generation, self.run, self.source_generation)

    @property
    def mark(self) -> bytes:
        """What every sector of the window holds, and no other."""
        return mark(self.generation, self.run)

    def data(self) -> bytes:
        """The bytes of the whole window."""
        return _tagged(self)

    def copied(self, copy: Copy) -> Guess:
        """The window after a copy that went well."""
        data, first = bytearray(self.data()), self.window.start
        brought = self.source.data()
        for source, target in copy.pieces():
            to, start, size = target.start - first, source.start - first, source.sectors
            data[to * SECTOR : (to + size) * SECTOR] = brought[
                start * SECTOR : (start + size) * SECTOR
            ]
        moves = [(source.start, target.start, source.sectors) for source, target in copy.pieces()]
        return Guess(moves, bytes(data))


@lru_cache(maxsize=4)
def _tagged(tagging: Tagging) -> bytes:
    """Asked for again and again while its case lasts."""
    return b"".join(tagging.sector(address) for address in tagging.window)


@dataclass(frozen=True)
class Findings:
    """What the oracle saw on a medium after a copy.

    `destination`: state per sector, in order.  `changed_source`, `changed_neighbour`: sectors
    that should not have changed, and did.  `notes`: for every sector that is neither whole old
    nor whole new data, or changed where it must not, what it holds instead.  Of a copy from one
    disk to another `changed_source` are sectors of the first, all else is of the second.
    """

    copy: Copy
    destination: tuple[SectorState, ...]
    changed_source: tuple[int, ...]
    changed_neighbour: tuple[int, ...]
    checked_neighbours: int
    notes: dict[int, str] = field(default_factory=dict)

    def count(self, state: SectorState) -> int:
        """How many destination sectors are in `state`."""
        return self.destination.count(state)

    def piece_states(self) -> list[tuple[SectorState, ...]]:
        """The states of each range's part of the destination."""
        start = self.copy.destination
        return [
            self.destination[part.start - start : part.end - start]
            for _, part in self.copy.pieces()
        ]

    def summary(self) -> str:
        """One character per unit of 512 bytes would be long: runs instead, as `64 new, 192 old`."""
        return _in_runs(self.destination)

    def document(self) -> dict[str, Any]:
        """Its JSON: `destination`, the states as in summary(), with `unreadable` told apart from
        other foreign data; `changed`, the sectors outside that should not have, as
        `2112+8 unreadable, 2120 foreign`; `notes`, what the first of the odd sectors hold."""
        words = [
            self._word(address, state)
            for address, state in zip(self.copy.target, self.destination, strict=True)
        ]
        changed = sorted({*self.changed_source, *self.changed_neighbour})
        return {
            "destination": _in_runs(words),
            "changed": ", ".join(self._extents(changed)),
            "notes": {str(at): note for at, note in islice(sorted(self.notes.items()), NOTED)},
        }

    def _extents(self, addresses: list[int]) -> Iterator[str]:
        """Sectors outside the destination as extents of one state each."""
        # Neighbours in a row differ from their place in it by the same.
        rows = groupby(
            enumerate(addresses),
            key=lambda each: (each[1] - each[0], self._word(each[1], SectorState.FOREIGN)),
        )
        for (_, word), row in rows:
            found = [address for _, address in row]
            yield f"{Extent(found[0], len(found))} {word}"

    def _word(self, address: int, state: SectorState) -> str:
        unreadable = self.notes.get(address, "").startswith(CANNOT_BE_READ)
        return UNREADABLE if unreadable else str(state)


NOTED = 32
"""Sectors of which a case's document says what they hold."""

UNREADABLE = "unreadable"
"""What a document says of foreign sectors of which there is nothing but an error."""


def _in_runs(words: Iterable[str]) -> str:
    return ", ".join(f"{len(list(run))} {word}" for word, run in groupby(words))


def flip_bit(ground: Ground, sector: int) -> None:
    """Flip one bit of a sector, in the magic of a tag: what it holds then is neither old nor new
    data, whatever these are."""
    data = bytearray(ground.read(Extent(sector, 1)))
    data[TAG_BYTES] ^= 0x10
    ground.write(sector, bytes(data))


def classify(copy: Copy, tagging: Tagging, data: bytes, source: bytes | None = None) -> Findings:
    """Say what became of each sector of the window, given its bytes after the copy; `source`: those
    of the disk that it came from, where that is another one.

    Source and destination must not overlap, and both lie inside the window.
    """
    sources = {address for part in copy.sources for address in part}
    if data == tagging.copied(copy).data and source in (None, tagging.source.data()):
        # As a rule; sector by sector it takes ten times as long.
        around = tagging.window.sectors - copy.target.sectors
        around -= len(sources) if source is None else 0
        return Findings(copy, (SectorState.NEW,) * copy.target.sectors, (), (), around)
    seen = sectors(tagging.window, data)
    brought = tagging.source
    states = [
        sector_state(seen[address], tagging.sector(address), brought.sector(origin))
        for address, origin in copy.origins().items()
    ]
    states = list(_whole_units(states, copy.unit))
    found = surroundings(tagging, seen, set(copy.target), sources, source)
    broken = {
        address: tagging.describe(seen[address])
        for address, state in zip(copy.target, states, strict=True)
        if state in (SectorState.TORN, SectorState.FOREIGN)
    }
    return Findings(
        copy, tuple(states), found.source, found.neighbour, found.neighbours, broken | found.notes
    )


def sectors(window: Extent, data: bytes) -> dict[int, bytes]:
    """Each sector of a window, given its bytes."""
    return {
        address: data[index * SECTOR : (index + 1) * SECTOR] for index, address in enumerate(window)
    }


@dataclass(frozen=True)
class Surroundings:
    """What no copy may change: sectors of the `source` and others that changed, how many others
    there are, and what those hold that changed."""

    source: tuple[int, ...]
    neighbour: tuple[int, ...]
    neighbours: int
    notes: dict[int, str]


def surroundings(
    tagging: Tagging,
    seen: Mapping[int, bytes],
    written: Collection[int],
    sources: Set[int],
    source: bytes | None = None,
) -> Surroundings:
    """What became of all sectors of a window, which were `seen`, but those that were `written`.

    `sources`: the sectors that were read; on another disk, whose window holds `source`, where that
    is given.  The same addresses of the window itself are its neighbours then.
    """
    outside = [address for address in tagging.window if address not in written]
    changed = [address for address in outside if seen[address] != tagging.sector(address)]
    notes = {address: tagging.describe(seen[address]) for address in changed}
    if source is None:
        return Surroundings(
            tuple(address for address in changed if address in sources),
            tuple(address for address in changed if address not in sources),
            len(set(outside) - sources),
            notes,
        )
    there = sectors(tagging.window, source)
    brought = tagging.source
    lost = [at for at in sorted(sources) if there[at] != brought.sector(at)]
    for at in lost:
        here = f"; on the destination's disk {notes[at]}" if at in notes else ""
        notes[at] = f"on the source's disk {tagging.describe(there[at])}{here}"
    return Surroundings(tuple(lost), tuple(changed), len(outside), notes)


def sector_state(seen: bytes, old: bytes, new: bytes) -> SectorState:
    """Classify one sector: torn if each of its bytes is old or new, foreign if one is neither."""
    if seen == new:
        return SectorState.NEW
    if seen == old:
        return SectorState.OLD
    mixed = all(byte in pair for byte, *pair in zip(seen, old, new, strict=True))
    return SectorState.TORN if mixed else SectorState.FOREIGN


def _whole_units(states: list[SectorState], unit: int) -> Iterator[SectorState]:
    """Mark as torn the sectors of a logical block that mixes whole old and whole new ones."""
    for at in range(0, len(states), unit):
        block = states[at : at + unit]
        mixed = SectorState.OLD in block and SectorState.NEW in block
        for state in block:
            yield SectorState.TORN if mixed and state is not SectorState.FOREIGN else state
