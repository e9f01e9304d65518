"""The oracle: tags a medium before a copy and says afterwards what each sector became.

It works on the raw medium from the host: QEMU reads and writes the same file through the same
page cache, so both see each other's bytes at once and the guest need not help (or lie).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lab.copy.model import SECTOR, Copy, Extent
from lab.copy.tags import TAG_BYTES, Tag, describe


class State(StrEnum):
    """What became of a destination sector."""

    OLD = "old"
    NEW = "new"
    TORN = "torn"
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Tagging:
    """The tags that a medium was given: all of `window` carries them."""

    window: Extent
    generation: int
    run: int

    def sector(self, address: int) -> bytes:
        """The bytes that were written to sector `address`."""
        return Tag(address, self.generation, self.run).sector()

    def data(self) -> bytes:
        """The bytes of the whole window."""
        return b"".join(self.sector(address) for address in self.window)


@dataclass(frozen=True)
class Findings:
    """What the oracle saw on a medium after a copy.

    `destination`: state per sector, in order.  `changed_source`, `changed_neighbour`: sectors
    that should not have changed, and did.  `notes`: for every sector that is neither whole old
    nor whole new data, or changed where it must not, what it holds instead.
    """

    copy: Copy
    destination: tuple[State, ...]
    changed_source: tuple[int, ...]
    changed_neighbour: tuple[int, ...]
    checked_neighbours: int
    notes: dict[int, str] = field(default_factory=dict)

    def count(self, state: State) -> int:
        """How many destination sectors are in `state`."""
        return self.destination.count(state)

    def piece_states(self) -> list[tuple[State, ...]]:
        """The states of each range's part of the destination."""
        start = self.copy.destination
        return [
            self.destination[part.start - start : part.end - start]
            for _, part in self.copy.pieces()
        ]

    def summary(self) -> str:
        """One character per unit of 512 bytes would be long: runs instead, as `64 new, 192 old`."""
        runs: list[list[int | State]] = []
        for state in self.destination:
            if runs and runs[-1][1] is state:
                runs[-1][0] = int(runs[-1][0]) + 1
            else:
                runs.append([1, state])
        return ", ".join(f"{length} {state}" for length, state in runs)


def write_window(medium: Path, tagging: Tagging) -> None:
    """Tag every sector of the window on the medium."""
    with medium.open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), tagging.data(), tagging.window.start * SECTOR)


def read_window(medium: Path, window: Extent) -> bytes:
    """The bytes of the window; what lies behind the end of the file reads as zeroes."""
    with medium.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), window.sectors * SECTOR, window.start * SECTOR)
    return data.ljust(window.sectors * SECTOR, b"\0")


def flip_bit(medium: Path, sector: int) -> None:
    """Flip one bit of a sector on the medium, in the magic of a tag: what it holds then is
    neither old nor new data, whatever these are."""
    at = sector * SECTOR + TAG_BYTES
    with medium.open("r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, at)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 0x10]), at)


def classify(copy: Copy, tagging: Tagging, data: bytes) -> Findings:
    """Say what became of each sector of the window, given its bytes after the copy.

    Source and destination must not overlap, and both lie inside the window.
    """
    seen = dict(_sectors(tagging.window, data))
    states = [
        sector_state(seen[address], tagging.sector(address), tagging.sector(origin))
        for address, origin in copy.origins().items()
    ]
    states = list(_whole_units(states, copy.unit))
    sources = {address for source in copy.sources for address in source}
    outside = [address for address in tagging.window if address not in copy.target]
    changed = [address for address in outside if seen[address] != tagging.sector(address)]
    broken = [
        address
        for address, state in zip(copy.target, states, strict=True)
        if state in (State.TORN, State.FOREIGN)
    ]
    return Findings(
        copy=copy,
        destination=tuple(states),
        changed_source=tuple(address for address in changed if address in sources),
        changed_neighbour=tuple(address for address in changed if address not in sources),
        checked_neighbours=len(outside) - len(sources),
        notes={
            address: describe(seen[address], tagging.generation, tagging.run)
            for address in broken + changed
        },
    )


def _sectors(window: Extent, data: bytes) -> Iterator[tuple[int, bytes]]:
    for index, address in enumerate(window):
        yield address, data[index * SECTOR : (index + 1) * SECTOR]


def sector_state(seen: bytes, old: bytes, new: bytes) -> State:
    """Classify one sector: torn if each of its bytes is old or new, foreign if one is neither."""
    if seen == new:
        return State.NEW
    if seen == old:
        return State.OLD
    mixed = all(byte in pair for byte, *pair in zip(seen, old, new, strict=True))
    return State.TORN if mixed else State.FOREIGN


def _whole_units(states: list[State], unit: int) -> Iterator[State]:
    """Mark as torn the sectors of a logical block that mixes whole old and whole new ones."""
    for at in range(0, len(states), unit):
        block = states[at : at + unit]
        mixed = State.OLD in block and State.NEW in block
        for state in block:
            yield State.TORN if mixed and state is not State.FOREIGN else state
