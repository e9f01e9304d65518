# SPDX-License-Identifier: GPL-2.0-or-later
"""Tagged sectors: every sector says which one it is, of which generation, and proves it.

A tag is 64 bytes, repeated eight times to fill the sector, little-endian:

    0   8  magic b"LABTAG01"
    8   8  address: the sector's own number on the medium
    16  8  generation: counts up with every tagging of the medium
    24  8  run: a number drawn for the run, so that old media cannot pass for fresh ones
    32  32 BLAKE2s of bytes 0..31

Old, new, torn and foreign data are told apart by comparing with the tags that the oracle knows
must be there; the self-description is for the evidence: whose data is it, and from when?
"""

import struct
from dataclasses import dataclass
from hashlib import blake2s

from lab.copy.model import SECTOR

_HEAD = struct.Struct("<8sQQQ")
_MAGIC = b"LABTAG01"
TAG_BYTES = 64
_REPEATS = SECTOR // TAG_BYTES
_TAGGING = struct.Struct("<QQ")


def mark(generation: int, run: int) -> bytes:
    """The bytes that all tags of one tagging have in common."""
    return _TAGGING.pack(generation, run)


@dataclass(frozen=True)
class Tag:
    """The identity a sector carries."""

    address: int
    generation: int
    run: int

    def sector(self) -> bytes:
        """The 512 bytes of a sector tagged so."""
        head = _HEAD.pack(_MAGIC, self.address, self.generation, self.run)
        return (head + blake2s(head).digest()) * _REPEATS


def read(cell: bytes) -> Tag | None:
    """The tag in 64 bytes, or None when there is none or its checksum is wrong."""
    head, digest = cell[: _HEAD.size], cell[_HEAD.size :]
    magic, address, generation, run = _HEAD.unpack(head)
    if magic != _MAGIC or blake2s(head).digest() != digest:
        return None
    return Tag(address, generation, run)


_UNREADABLE = b"LABERROR"
CANNOT_BE_READ = "cannot be read"
"""How the description of such a sector begins."""


def unreadable(error: str) -> bytes:
    """The 512 bytes that stand for a sector which could not be read, for an error of that name."""
    return _UNREADABLE + error.encode().ljust(SECTOR - len(_UNREADABLE), b"\0")


def describe(sector: bytes, generation: int, run: int, source: int = 0) -> str:
    """What a sector holds, in words for the evidence of a verdict.

    `generation` and `run` are the current ones: data of another run or an earlier generation
    is named as such.  `source`: the generation of the disk that copies come from, where that is
    another; then it is told of which of the two the data are.
    """
    if sector.startswith(_UNREADABLE):
        return f"{CANNOT_BE_READ}: {sector[len(_UNREADABLE) :].rstrip(bytes(1)).decode()}"
    found = {read(sector[at : at + TAG_BYTES]) for at in range(0, SECTOR, TAG_BYTES)}
    if found == {None}:
        return "zeroes" if not any(sector) else f"no valid tag: {sector[:8].hex(' ')} …"
    return " and ".join(sorted(_name(tag, generation, run, source) for tag in found))


def _name(tag: Tag | None, generation: int, run: int, source: int) -> str:
    if tag is None:
        return "bytes without a valid tag"
    if tag.run != run:
        return f"data of sector {tag.address} from another run"
    if source and tag.generation == source:
        return f"data of sector {tag.address} of the source's disk"
    if tag.generation != generation:
        return f"stale data of sector {tag.address} (generation {tag.generation})"
    of = " of the destination's disk" if source else ""
    return f"data of sector {tag.address}{of}"
