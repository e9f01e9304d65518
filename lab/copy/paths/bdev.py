# SPDX-License-Identifier: GPL-2.0-or-later
"""What the block-layer series give to user space: copy_file_range within a block device, an ioctl.

The series of 2026 offers copy_file_range where both ends are open with O_DIRECT, and promises
nothing of others: those paths tell whether a kernel refuses them, falls back, or copies wrongly.
"""

from collections.abc import Iterator
from typing import Any

from lab.copy.contract import Offload
from lab.copy.model import SECTOR, Copy, Extent, Layout
from lab.copy.oracle import Tagging
from lab.copy.paths.base import CopyPath, Logs, Observation, stray, writes
from lab.copy.paths.find import copy_limits, free_layers, free_namespaces, reference
from lab.copy.paths.instrument import Instrument, Subject
from lab.copy.paths.placement import Placement, parts_of
from lab.copy.paths.traced import offload, offload_over, parse_trace
from lab.faults.actions import Action
from lab.faults.model import Point
from lab.profile.layers.mapping import DmLinear
from lab.profile.models import CopyLimits, Profile
from lab.vm.graph import Drive

PAGE = 8
"""Sectors of a page: what the page cache writes at once."""

LIMITS = CopyLimits(msrc=64, mssrl=1024, mcl=4096)


class BdevCfr(CopyPath):
    """Within a namespace, or within a layer whose sectors are those of some."""

    name = "bdev-cfr"
    does = "copy_file_range within a block device, both ends O_DIRECT, as the series propose"
    needs = (
        "an emulated NVMe namespace without zones, metadata or layers; or a partition, dm-linear "
        "or nvmet over such"
    )
    module = "bdev"
    durable = True
    through_cache = True
    splits = True
    direct = (True, True)
    """Whether the end that is read, and the one that is written, are open with O_DIRECT."""

    mapped = False
    """The device is one of the device mapper."""
    border = 0
    """The sector at which the second part begins, where there are several."""

    def __init__(self, parts: tuple[Placement, ...], ref: str, bounds: CopyLimits) -> None:
        drives = list(dict.fromkeys(part.drive for part in parts))
        unit = max(drive.block_size for drive in drives) // SECTOR
        super().__init__(drives[0], ref, unit, parts[-1].extent.end * SECTOR, LIMITS)
        # Of several parts, and of one that begins elsewhere, the guest has its own addresses.
        self.on_medium = len(parts) == 1 and not parts[0].start
        self._parts, self._drives, self._bounds = parts, tuple(drives), bounds

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        for drive, namespace in free_namespaces(profile):
            if not namespace.zoned and not namespace.metadata:
                whole = (Placement.whole(drive),)
                yield cls(whole, reference(drive), namespace.copy_limits)
        for layer in free_layers(profile):
            if parts := parts_of(profile, layer):
                path = cls(parts, layer.name, copy_limits(profile, parts[0].drive))
                path.mapped = isinstance(layer, DmLinear)
                path.border = parts[0].extent.end if len(parts) > 1 else 0
                yield path

    @property
    def stepped(self) -> tuple[Drive, ...]:
        return self._drives

    @property
    def atom(self) -> int:
        return min(drive.block_size for drive in self._drives)

    @property
    def bounds(self) -> CopyLimits:
        return self._bounds

    def sizes(self) -> Iterator[tuple[str, Layout]]:
        yield from self.around_limits()

    @property
    def others(self) -> tuple[Drive, ...]:
        return self._drives[1:]

    def points(self, ranges: int) -> list[Point] | None:
        return None

    def layer(self, kind: str) -> str:
        if kind == "copy limit" or (kind == "device mapper" and self.mapped):
            return self.ref
        return super().layer(kind)

    def possible(self, action: Action) -> bool:
        # What stands on the controller would be gone with it.
        plain = self.ref == reference(self.drive)
        # The page cache writes when it likes, and over what was damaged meanwhile.
        at_once = self.direct[1]
        return (
            super().possible(action)
            and (plain or not action.removes)
            and (at_once or not action.written)
        )

    def strays(self, logs: Logs, copy: Copy) -> Iterator[str]:
        """Writes to any of the disks, wherever they lie."""
        target = copy.target
        if not self.direct[1]:
            # The page cache writes pages, which may begin before the destination.
            first, end = target.start // PAGE * PAGE, -(-target.end // PAGE) * PAGE
            target = Extent(first, end - first)
        for drive, wrote in writes(logs):
            placed = [part.above(wrote) for part in self._parts if part.drive == drive]
            inside = sum(len(set(each) & set(target)) for each in placed if each)
            if inside < wrote.sectors:
                yield stray(drive, wrote)

    def layout(self, ranges: int, blocks: int) -> Layout:
        """A regular copy; over several parts one whose last range crosses from the first part to
        the second, where all of the destination lies."""
        plan = super().layout(ranges, blocks)
        if not self.border:
            return plan
        last = plan.copy.sources[-1]
        inside = last.start + last.sectors // self.unit // 2 * self.unit
        border = self.border // self.unit * self.unit
        return self._fitting(plan.copy.moved(border - inside))

    def request(self, copy: Copy) -> dict[str, object]:
        return super().request(copy) | {"direct": self.direct}

    def on(self, subject: Subject) -> Instrument[Any]:
        return Instrument(self, subject) if all(self.direct) else _Cached(self, subject)

    def offload(self, seen: Observation, copy: Copy) -> Offload:
        lines = parse_trace(seen.trace)
        if self.on_medium:
            return offload(lines, copy, self.drive.nsid, seen.begun)
        return offload_over(lines, copy, self._parts, seen.begun)


class _Cached(Instrument[BdevCfr]):
    """Where the page cache serves the copy: of what the host wrote it knows nothing."""

    def prepare(self, copy: Copy, tagging: Tagging) -> None:
        self.ask(op="sectors.forget", node=self.path.node)
        super().prepare(copy, tagging)


class BdevCfrBuffered(BdevCfr):
    """Through the page cache."""

    name = "bdev-cfr-buffered"
    does = "copy_file_range within a block device, neither end O_DIRECT"
    direct = (False, False)


class BdevCfrDirectSource(BdevCfr):
    """Into the page cache."""

    name = "bdev-cfr-direct-source"
    does = "copy_file_range within a block device, of which only the source is O_DIRECT"
    direct = (True, False)


class BdevCfrDirectTarget(BdevCfr):
    """Out of the page cache."""

    name = "bdev-cfr-direct-target"
    does = "copy_file_range within a block device, of which only the destination is O_DIRECT"
    direct = (False, True)


class BdevIoctl(BdevCfr):
    """What earlier series gave."""

    name = "bdev-ioctl"
    does = "the ioctl BLKCOPY, as earlier block-layer series proposed"
