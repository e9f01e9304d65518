# SPDX-License-Identifier: GPL-2.0-or-later
"""What an offload path is: one way to ask for a copy, on one disk or layer of a profile.

A new path is a subclass of CopyPath, listed in lab/copy/paths/__init__.py or an entry point of a
package, and a module for the guest that carries the copy out.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lab.copy.contract import Offload
from lab.copy.model import SECTOR, Completion, Copy, Extent, Layout
from lab.copy.paths.find import reference
from lab.copy.paths.instrument import Instrument, Subject
from lab.copy.paths.traced import is_bystander, parse_trace
from lab.copy.sizes import shapes
from lab.crash.writelog import LogEntry
from lab.errors import UsageError
from lab.faults.actions import CONCURRENT, PAGE_CACHE, Action
from lab.faults.model import Point, Stage, points_of
from lab.profile.models import CopyLimits, Profile
from lab.vm.graph import Drive

GUARD = 64
"""Sectors around and between the parts of a copy that must not change; one block at least."""

FIRST = 2048
"""First sector of a window: clear of anything that looks like a partition table."""


Logs = Mapping[Drive, Sequence[LogEntry]]
"""What reached the write log of each disk at the bottom during a copy."""


def writes(logs: Logs) -> Iterator[tuple[Drive, Extent]]:
    """Every write, and every discard, with the whole sectors that it touches."""
    for drive, entries in logs.items():
        for entry in entries:
            if entry.length:
                first, end = entry.offset // SECTOR, -(-(entry.offset + entry.length) // SECTOR)
                yield drive, Extent(first, end - first)


def stray(drive: Drive, wrote: Extent) -> str:
    """A write that is none of the copy's, in words."""
    return f"{wrote.sectors * SECTOR} bytes written at sector {wrote.start} of {reference(drive)}"


@dataclass(frozen=True)
class Observation:
    """What was observed of a copy, apart from the sectors.

    `trace`: what the emulated device was asked for (QEMU's trace log).  `carried`: how many of
    the writes that reached the write log held tags of this copy.  `answer`: the executor's, None
    if none came.  `begun`: as many ranges as the copy must have come to.
    """

    trace: str
    carried: int
    answer: dict[str, Any] | None
    begun: int


class CopyPath(ABC):
    """One way to ask for a copy, as far as it takes no guest to know it; see `on`.

    `drive` is the disk at the bottom, whose reads and writes are the points, unless more are
    `stepped`.  `unit` is the atomic unit in sectors, `size` the bytes of the ground, `limits` what
    one copy may be.
    """

    name: ClassVar[str]
    does: ClassVar[str]
    """In a few words, for lists."""
    needs: ClassVar[str]
    """What a profile must have for it."""
    module: ClassVar[str]
    """The module in the guest, beside those of guest-scripts/copies, that carries it out."""
    guest_scripts: ClassVar[tuple[Path, ...]] = ()
    """Modules for the guest that are not among the lab's own."""
    durable: bool = False
    """The copy is synced before it reports success: success promises durability."""
    on_medium: bool = True
    """The copy's addresses are those of the drive's medium."""
    survives_boot: bool = True
    """What is on the ground can be used after the guest was booted again."""
    any_shape: ClassVar[bool] = True
    """Any ranges and any destination can be asked for."""
    passthrough: ClassVar[bool] = False
    """The device carries out one command, range by range: a read and then a write of each."""
    redundant: str = ""
    """What below makes an error of the drive good from another disk, in words."""
    through_cache: ClassVar[bool] = False
    """Its caller has a page cache before the ground, which the copy must mind."""
    maps: ClassVar[bool] = True
    """So must memory that programs have mapped from it."""
    file_size: ClassVar[int] = 0
    """Bytes of the file that is the ground, which is made where there is none; 0: it is none."""
    held: ClassVar[bool] = True
    """A copy can be held at its reads and writes, which QEMU sees."""
    splits: ClassVar[bool] = False
    """A copy above a limit of the device is carried out in parts, and not refused."""
    by_its_task: ClassVar[bool] = True
    """The task that asks for the copy does so by system calls around which nothing else happens,
    so that what the kernel allocates for it can be told."""
    copies_last: ClassVar[bool] = False
    """The destination must come behind all that is written, as in a zone."""
    source: Drive | None = None
    """The disk that is read, where that is another than the one that is written."""

    def __init__(
        self, drive: Drive, ref: str, unit: int, size: int, limits: CopyLimits, first: int = FIRST
    ) -> None:
        self.drive = drive
        self.ref = ref
        self.unit = unit
        self.size = size
        self.limits = limits
        self.first = first

    @classmethod
    @abstractmethod
    def candidates(cls, profile: Profile) -> Iterator["CopyPath"]:
        """The path on every disk or layer of the profile where it can be tried."""

    def force_unit_access(self) -> None:
        """Ask for copies that are durable when they succeed.  Raises UsageError where there is no
        such thing."""
        if not self.durable:
            raise UsageError(f"{self.name} knows no FUA", hint="leave out --fua")

    @property
    def bounds(self) -> CopyLimits:
        """The limits of the device below, in blocks of the copies of sizes(); those of one copy
        are the same where none is split."""
        return self.limits

    @property
    def others(self) -> tuple[Drive, ...]:
        """More disks at the bottom, which the data may reach too; they have no points unless they
        are `stepped`."""
        return ()

    @property
    def stepped(self) -> tuple[Drive, ...]:
        """The disks whose reads and writes are the points: one order of all of them."""
        return (self.drive,)

    @property
    def node(self) -> str:
        """The disk or layer in the guest."""
        return f"/dev/lab/{self.ref}"

    @property
    def atom(self) -> int:
        """Bytes of the smallest part that what holds the data writes whole."""
        return self.drive.block_size

    @property
    def guard(self) -> int:
        """Sectors around and between the parts of a copy that must not change: whole blocks."""
        return max(GUARD, self.unit)

    def points(self, ranges: int) -> list[Point] | None:
        """Every point of a copy of so many ranges; None where only a rehearsal can tell."""
        return points_of(ranges)

    def begun(self, point: Point) -> int:
        """How many ranges a copy that has come to a point must have begun."""
        return point.k

    def layer(self, kind: str) -> str:
        """The layer of a kind (Action.layer) that the copy stands on, or the disk itself below the
        block layer, or what it copies on behind the page cache; '' if there is none."""
        if kind == PAGE_CACHE:
            return self.ref if self.through_cache else ""
        return reference(self.drive) if kind == "block layer" and not self.passthrough else ""

    def possible(self, action: Action) -> bool:
        """Whether the action means something on this path."""
        if not self.survives_boot and (action.costs_boot or action.lies):
            return False
        if action.counts and len(self.stepped) > 1:
            return False
        if action.beforehand:
            return self.by_its_task
        if action == CONCURRENT:
            return self.any_shape and not self.copies_last
        if action.layer:
            return bool(self.layer(action.layer))
        if action.throttles:
            return self.passthrough and self.on_medium
        return self.on_medium or not action.on_medium

    def layout(self, ranges: int, blocks: int) -> Layout:
        """A regular copy: sources one after the other with gaps between them, then the
        destination.  Raises UsageError when the ground is too small for it."""
        length, guard = blocks * self.unit, self.guard
        start = self.first + guard
        sources = tuple(Extent(start + index * (length + guard), length) for index in range(ranges))
        return self._fitting(Copy(sources, sources[-1].end + guard, self.unit))

    def _fitting(self, copy: Copy) -> Layout:
        first = copy.sources[0].start - self.guard
        window = Extent(first, copy.target.end + self.guard - first)
        if window.end * SECTOR > self.size:
            raise UsageError(
                f"the copy needs {window.end * SECTOR >> 10} KiB, {self.ref} has {self.size >> 10}",
                hint="ask for fewer or smaller ranges",
            )
        return Layout(copy, window)

    def request(self, copy: Copy) -> dict[str, object]:
        """The executor's request for a copy."""
        return {
            "op": f"{self.module}.copy",
            "path": self.name,
            "node": self.node,
            "ranges": [[source.start * SECTOR, source.sectors * SECTOR] for source in copy.sources],
            "to": copy.destination * SECTOR,
        }

    def misnames(self, completion: Completion, stage: Stage) -> str:
        """What is wrong with the status of a copy whose medium failed at `stage`, where a
        specification says which it must be; '' if nothing."""
        return ""

    def refuses_wrongly(self, completion: Completion) -> str:
        """What is wrong with the status by which a copy above a limit of the device was refused,
        where a specification says which it must be; '' if nothing."""
        return ""

    def sizes(self) -> Iterator[tuple[str, Layout]]:
        """Copies at, and just above, each limit of the device, with what they are called; none
        where no device sets one."""
        if self.passthrough:
            yield from self.at_limits()

    def at_limits(self) -> Iterator[tuple[str, Layout]]:
        """The same, of a device that sets some."""
        for shape in shapes(self.limits):
            # A copy for which the ground is too small cannot be tried.
            with suppress(UsageError):
                yield shape.name, self.layout(shape.ranges, shape.blocks)

    def around_limits(self) -> Iterator[tuple[str, Layout]]:
        """The same, where a block layer splits: one block, as many as a command may copy, one more,
        and two commands full and one."""
        most = min(self.bounds.mssrl, self.bounds.mcl)
        wanted = {"one block": 1, "at mssrl": most, "above mssrl": most + 1}
        for name, blocks in (wanted | {"above twice mssrl": 2 * most + 1}).items():
            if 0 < blocks <= self.limits.mcl:
                with suppress(UsageError):
                    yield name, self.layout(1, blocks)

    def is_bystander(self, trace: str, copy: Copy, stage: Stage) -> bool:
        """Whether a read (or write, by `stage`) that the disk was asked for is none of the copy's,
        by what it traced since; False where that is not known."""
        if not self.on_medium or not self.drive.nsid:
            return False
        return is_bystander(parse_trace(trace), copy, self.drive.nsid, stage)

    def strays(self, logs: Logs, copy: Copy) -> Iterator[str]:
        """The writes to disks at the bottom, as far as it is known where the copy lies there, that
        are not inside its destination."""
        target = copy.target
        for drive, wrote in writes(logs):
            here = self.on_medium and drive == self.drive
            if here and not (wrote.start in target and wrote.end <= target.end):
                yield stray(drive, wrote)

    @abstractmethod
    def offload(self, seen: Observation, copy: Copy) -> Offload:
        """Who moved the data."""

    def on(self, subject: Subject) -> Instrument[Any]:
        """The path in a guest that is up."""
        return Instrument(self, subject)
