# SPDX-License-Identifier: GPL-2.0-or-later
"""The ground of a copy: where the oracle writes its tags and reads what became of them.

The medium itself, from the host, where a path copies on it; a file or block device through the
guest, where only the guest knows where its sectors lie.  Addresses are in sectors of the ground.
"""

import base64
import errno
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lab.copy.answers import SectorsAnswer, checked, unpacked
from lab.copy.model import SECTOR, Extent
from lab.copy.tags import unreadable
from lab.errors import GuestError

Ask = Callable[..., dict[str, Any]]
"""Asks the executor in the guest: keyword arguments to its answer.  Raises GuestError."""


@dataclass(frozen=True)
class Guess:
    """What is likely to be read: what was last written there with parts moved (from, to, how many
    sectors), which is `data`.  Where it is just that, only that is told."""

    moves: Sequence[tuple[int, int, int]]
    data: bytes


class Ground(Protocol):
    """Tagged sectors, written and read."""

    @property
    def source(self) -> "Ground":
        """Where copies to this ground are read from: itself, unless they come from another disk."""

    def write(self, sector: int, data: bytes) -> None:
        """Write data from a sector on; it is on the medium when this returns."""

    def read(self, extent: Extent, guess: Guess | None = None) -> bytes:
        """The bytes of an extent."""


class MediumGround:
    """A medium on the host: QEMU reads and writes the same file through the same page cache, so
    both see each other's bytes at once, and the guest need not help (or lie).

    `source`: the medium that copies come from, if it is another.
    """

    def __init__(self, medium: Path, source: Path | None = None) -> None:
        self._medium = medium
        self._source = source

    @property
    def source(self) -> Ground:
        return MediumGround(self._source) if self._source else self

    def write(self, sector: int, data: bytes) -> None:
        with self._medium.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), data, sector * SECTOR)

    def read(self, extent: Extent, guess: Guess | None = None) -> bytes:
        """The bytes of an extent; what lies behind the end of the file reads as zeroes."""
        with self._medium.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), extent.sectors * SECTOR, extent.start * SECTOR)
        return data.ljust(extent.sectors * SECTOR, b"\0")


class GuestGround:
    """A file or block device in the guest, past its page cache.

    `unit` is the sectors of the smallest part that can be read; `size` the bytes of a file that
    is to be made if it is not there, 0 for a block device.
    """

    def __init__(self, ask: Ask, node: str, unit: int, size: int = 0) -> None:
        self._ask = ask
        self._node = node
        self._unit = unit
        self._size = size

    @property
    def source(self) -> Ground:
        return self

    def write(self, sector: int, data: bytes) -> None:
        size = {"size": self._size} if self._size else {}
        self._ask(op="sectors.write", data=packed(data), **self._at(sector), **size)

    def read(self, extent: Extent, guess: Guess | None = None) -> bytes:
        """The bytes of an extent; sectors that cannot be read say so themselves."""
        answer = self._ask(op="sectors.read", **self._asked(extent, guess))
        return _unpacked(extent, answer, guess)

    def _asked(self, extent: Extent, guess: Guess | None) -> dict[str, object]:
        return {**self._at(extent.start), **self._of(extent), **_guessing(guess)}

    def _at(self, sector: int) -> dict[str, object]:
        return {"node": self._node, "offset": sector * SECTOR}

    def _of(self, extent: Extent) -> dict[str, object]:
        return {"bytes": extent.sectors * SECTOR, "unit": self._unit * SECTOR}


class CachedGround(GuestGround):
    """The same through the page cache.  What was written stays there, unless the kernel sees to it,
    until it is read: then all goes to the medium, and the page cache forgets it."""

    def __init__(self, ask: Ask, node: str, unit: int, *, maps: bool = True) -> None:
        """`maps`: memory that is mapped from it has a part in that."""
        super().__init__(ask, node, unit)
        self._maps = maps

    def empty(self) -> None:
        """Have the page cache forget all that it has; it is kept open from now on."""
        self._ask(op="sectors.empty_cache", node=self._node)

    def write(self, sector: int, data: bytes) -> None:
        asked = {"data": packed(data), "map": self._maps, **self._at(sector)}
        self._ask(op="sectors.write_cached", **asked)

    def read(self, extent: Extent, guess: Guess | None = None) -> bytes:
        answer = self._ask(op="sectors.read_cached", **self._asked(extent, guess))
        return _unpacked(extent, answer, guess)

    def read_mapped(self, extent: Extent, guess: Guess | None = None) -> bytes | None:
        """The bytes of an extent, which was written before and not read since, by memory that has
        been mapped from it all the while; None where there is none."""
        if not self._maps:
            return None
        answer = self._ask(op="sectors.read_mapped", **self._asked(extent, guess))
        return _unpacked(extent, answer, guess)


def packed(data: bytes) -> str:
    """Data as the executor in the guest takes them: tags repeat themselves."""
    return base64.b64encode(zlib.compress(data, 1)).decode()


def _guessing(guess: Guess | None) -> dict[str, object]:
    if guess is None:
        return {}
    return {"moves": [[each * SECTOR for each in move] for move in guess.moves]}


def _unpacked(extent: Extent, answer: dict[str, Any], guess: Guess | None) -> bytes:
    told = checked(SectorsAnswer, answer)
    if guess and told.as_moved:
        return guess.data
    data = unpacked(told.data, extent.sectors * SECTOR)
    for offset, size, number in told.unreadable:
        at = offset - extent.start * SECTOR
        if at % SECTOR or size % SECTOR or not 0 <= at <= at + size <= len(data):
            raise GuestError(
                f"the executor in the guest could not read {size} bytes from {offset} on, which "
                "are not among those that were asked for"
            )
        data[at : at + size] = unreadable(errno_name(number)) * (size // SECTOR)
    return bytes(data)


def errno_name(number: int) -> str:
    """The kernel's name of an errno; Python prefers ENOTSUP for the number of EOPNOTSUPP."""
    return "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode.get(number, str(number))
