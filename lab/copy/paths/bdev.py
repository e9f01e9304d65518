# SPDX-License-Identifier: GPL-2.0-or-later
"""What the block-layer series give to user space: copy_file_range within a block device, an ioctl.

The series of 2026 offers copy_file_range where both ends are open with O_DIRECT, and promises
nothing of others: those paths tell whether a kernel refuses them, falls back, or copies wrongly.
"""

from collections.abc import Iterator

from lab.copy.contract import Offload
from lab.copy.model import SECTOR, Copy, Layout
from lab.copy.paths.base import CopyPath, Observation
from lab.copy.paths.find import free_layers, free_namespaces, reference
from lab.copy.paths.placement import Placement, linear
from lab.copy.paths.traced import offload, offload_over, parse_trace
from lab.faults.model import Point
from lab.profile.layers.mapping import DmLinear
from lab.profile.models import CopyLimits, Profile
from lab.vm.graph import Drive

LIMITS = CopyLimits(msrc=64, mssrl=1024, mcl=4096)


class BdevCfr(CopyPath):
    """Within a namespace, or within dm-linear over some."""

    name = "bdev-cfr"
    does = "copy_file_range within a block device, both ends O_DIRECT, as the series propose"
    needs = "an emulated NVMe namespace without zones, metadata or layers, or dm-linear over such"
    module = "bdev"
    durable = True
    through_cache = True
    direct = (True, True)
    """Whether the end that is read, and the one that is written, are open with O_DIRECT."""

    def __init__(self, parts: tuple[Placement, ...], ref: str) -> None:
        drives = list(dict.fromkeys(part.drive for part in parts))
        unit = max(drive.block_size for drive in drives) // SECTOR
        super().__init__(drives[0], ref, unit, parts[-1].extent.end * SECTOR, LIMITS)
        self.on_medium = len(parts) == 1 and ref == reference(drives[0])
        self._parts, self._drives = parts, tuple(drives)

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        for drive, namespace in free_namespaces(profile):
            if not namespace.zoned and not namespace.metadata:
                yield cls((Placement.whole(drive),), reference(drive))
        for layer in free_layers(profile):
            parts = linear(profile, layer) if isinstance(layer, DmLinear) else ()
            if parts:
                yield cls(parts, layer.name)

    @property
    def stepped(self) -> tuple[Drive, ...]:
        return self._drives

    @property
    def others(self) -> tuple[Drive, ...]:
        return self._drives[1:]

    def points(self, ranges: int) -> list[Point] | None:
        return None

    def layer(self, kind: str) -> str:
        if kind == "device mapper" and not self.on_medium:
            return self.ref
        return super().layer(kind)

    def layout(self, ranges: int, blocks: int) -> Layout:
        """A regular copy; over several parts one whose last range crosses from the first part to
        the second, where all of the destination lies."""
        plan = super().layout(ranges, blocks)
        if len(self._parts) == 1:
            return plan
        last = plan.copy.sources[-1]
        inside = last.start + last.sectors // self.unit // 2 * self.unit
        border = self._parts[0].extent.end // self.unit * self.unit
        return self._fitting(plan.copy.moved(border - inside))

    def request(self, copy: Copy) -> dict[str, object]:
        return super().request(copy) | {"direct": self.direct}

    def offload(self, seen: Observation, copy: Copy) -> Offload:
        lines = parse_trace(seen.trace)
        if self.on_medium:
            return offload(lines, copy, self.drive.nsid, seen.begun)
        return offload_over(lines, copy, self._parts, seen.begun)


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
