# SPDX-License-Identifier: GPL-2.0-or-later
"""What a copy is: source ranges, one destination, and what the caller was told at its end."""

from collections.abc import Iterator
from dataclasses import dataclass

SECTOR = 512
"""Bytes; the unit of tags, of the write log and of every address on a medium."""


@dataclass(frozen=True)
class Extent:
    """A run of sectors on a medium."""

    start: int
    sectors: int

    @property
    def end(self) -> int:
        """The first sector behind it."""
        return self.start + self.sectors

    def __contains__(self, sector: int) -> bool:
        return self.start <= sector < self.end

    def overlaps(self, other: "Extent") -> bool:
        """Whether they have a sector in common."""
        return max(self.start, other.start) < min(self.end, other.end)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.end))

    def __str__(self) -> str:
        return f"{self.start}+{self.sectors}"


@dataclass(frozen=True)
class Copy:
    """Source extents R1..Rn, written one after the other from sector `destination` on.

    Addresses and lengths are in 512-byte sectors; `unit` is the atomic unit in sectors (the
    logical block), below which a failed write may legitimately not leave a mixture.
    """

    sources: tuple[Extent, ...]
    destination: int
    unit: int = 1

    def moved(self, sectors: int) -> "Copy":
        """The same so many sectors further on."""
        sources = tuple(Extent(each.start + sectors, each.sectors) for each in self.sources)
        return Copy(sources, self.destination + sectors, self.unit)

    @property
    def target(self) -> Extent:
        """The whole destination."""
        return Extent(self.destination, sum(source.sectors for source in self.sources))

    def pieces(self) -> list[tuple[Extent, Extent]]:
        """Each source with the part of the destination that it fills, in order."""
        at = self.destination
        pieces = []
        for source in self.sources:
            pieces.append((source, Extent(at, source.sectors)))
            at += source.sectors
        return pieces

    def origins(self) -> dict[int, int]:
        """Destination sector → the source sector whose data belongs there."""
        return {
            to: origin
            for source, target in self.pieces()
            for origin, to in zip(source, target, strict=True)
        }


@dataclass(frozen=True)
class Layout:
    """A copy and the window around it that the oracle tags and checks."""

    copy: Copy
    window: Extent


OR = " or "
"""Between the names of errnos of which a caller gets one, and it is not known which."""


@dataclass(frozen=True)
class Completion:
    """How a copy ended for its caller.

    `status` is 0 for success.  Of an NVMe command it is the Status Field without phase tag, More
    and DNR bits, i.e. SCT << 8 | SC (NVMe Base 2.1, 4.2.3); of a system call its errno.
    `ranges_done` is how many ranges the caller may believe to be copied when it failed: of an
    NVMe Copy completion queue entry Dword 0, the number of the lowest range that was not copied
    entirely (NVM Command Set 1.1, 3.3.2 Copy); of system calls those that succeeded.  `seconds`
    is the time the caller waited, measured in the guest.  `error` is the name of the errno that
    a user of the block layer or the file system gets, '' for success; where kernels differ and
    this one was not asked, all that it can be, joined by OR.  `said` is what else was said of it,
    in words.
    """

    status: int
    ranges_done: int
    seconds: float
    error: str = ""
    said: str = ""

    @property
    def succeeded(self) -> bool:
        """True when the caller was told that all is copied."""
        return self.status == 0

    def __str__(self) -> str:
        if self.succeeded:
            return "success"
        what = self.said or f"status {self.status:#x}"
        return f"{what}, {self.ranges_done} ranges reported done"
