# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies by the limits that a device sets to their size (NVM Command Set 1.1, Identify Namespace).

MSSRL: the most blocks in one source range.  MCL: the most in all.  MSRC: the most ranges, which the
device tells less one.  What is above one of them a device must refuse with Command Size Limit
Exceeded (NVM Command Set 1.1, Copy command, Command Completion).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lab.copy.model import Copy
from lab.profile.models import CopyLimits

SIZE_LIMIT_EXCEEDED = 0x183
"""The status by which a device must refuse a copy above a limit, without DNR."""

MAX_RANGES = 256
"""What the command's number of ranges, 8 bits and zero-based, can say."""

MAX_BLOCKS = 1 << 16
"""What the number of blocks of a source range, 16 bits and zero-based, can say (NVM Command Set
1.1, Source Range Entries)."""


@dataclass(frozen=True)
class Size:
    """How much of something a copy has, and the device's limit to it, by its name in profiles."""

    value: int
    what: str
    name: str
    limit: int

    def __str__(self) -> str:
        return f"{self.value} {self.what} ({self.name} {self.limit})"


def sizes(copy: Copy, limits: CopyLimits) -> tuple[Size, Size, Size]:
    """A copy by each limit."""
    longest = max(source.sectors for source in copy.sources) // copy.unit
    return (
        Size(len(copy.sources), "source ranges", "msrc", limits.msrc),
        Size(longest, "blocks in a range", "mssrl", limits.mssrl),
        Size(copy.target.sectors // copy.unit, "blocks in all", "mcl", limits.mcl),
    )


def exceeded(copy: Copy, limits: CopyLimits) -> list[Size]:
    """The limits that a copy is above."""
    return [size for size in sizes(copy, limits) if size.value > size.limit]


@dataclass(frozen=True)
class Shape:
    """A copy of so many ranges of so many blocks each, and how it lies to a limit."""

    name: str
    ranges: int
    blocks: int


def shapes(limits: CopyLimits) -> Iterator[Shape]:
    """For each limit a copy that just reaches it and one that just exceeds it.

    Where that cannot be helped another one is exceeded as well: MCL of a device is often its MSSRL.
    Left out is what no regular copy and no command can say, and a range that the limit of all
    forbids: a driver's MCL may be below its MSSRL, unlike a namespace's.
    """
    msrc, mssrl, mcl = limits.msrc, limits.mssrl, limits.mcl
    if limits.none:
        return
    if mssrl <= mcl:
        yield Shape("at mssrl", 1, mssrl)
    if mssrl < MAX_BLOCKS:
        yield Shape("above mssrl", 1, mssrl + 1)
    if fitting := [each for each in range(1, msrc + 1) if _divides(each, mcl, mssrl)]:
        yield Shape("at mcl", fitting[0], mcl // fitting[0])
    needed = mcl // mssrl + 1
    if needed <= msrc:
        yield Shape("above mcl", needed, mcl // needed + 1)
    if msrc <= mcl:
        yield Shape("at msrc", msrc, 1)
    if msrc < MAX_RANGES:
        yield Shape("above msrc", msrc + 1, 1)


def _divides(ranges: int, mcl: int, mssrl: int) -> bool:
    return mcl % ranges == 0 and mcl // ranges <= mssrl
