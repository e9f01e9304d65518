# SPDX-License-Identifier: GPL-2.0-or-later
"""copy_file_range from one block device to another, and within one that only the guest has."""

from collections.abc import Iterator

from lab.copy.contract import Offload
from lab.copy.model import SECTOR, Copy, Layout
from lab.copy.paths.across import Across
from lab.copy.paths.base import CopyPath, Logs, Observation
from lab.copy.paths.bdev import LIMITS, BdevCfr
from lab.copy.paths.bios import moved_through
from lab.copy.paths.find import copy_limits, downwards, free_layers, free_namespaces, reference
from lab.copy.paths.placement import Placement
from lab.faults.model import REHEARSED, Point
from lab.profile.layers.base import BaseLayer
from lab.profile.layers.mapping import DmLinear
from lab.profile.layers.synthetic import NullBlk
from lab.profile.models import CopyLimits, Profile
from lab.vm.graph import Drive, drives


class BdevCfrAcross(Across, BdevCfr):
    """From one disk to another of the same driver."""

    name = "bdev-cfr-across"
    does = "copy_file_range from one block device to another, both ends O_DIRECT"
    needs = "two emulated NVMe namespaces with blocks of one size, plain and without layers"
    through_cache = False

    def __init__(self, source: Drive, target: Drive, bounds: CopyLimits) -> None:
        super().__init__((Placement.whole(target),), reference(target), bounds)
        self.reads(source)

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        plain = [
            drive
            for drive, namespace in free_namespaces(profile)
            if not namespace.zoned and not namespace.metadata
        ]
        for target in reversed(plain):
            for source in plain:
                if source != target and source.block_size == target.block_size:
                    yield cls(source, target, copy_limits(profile, target))

    def request(self, copy: Copy) -> dict[str, object]:
        return super().request(copy) | {"source": f"/dev/lab/{reference(self.source)}"}


class BdevCfrMemory(CopyPath):
    """Within null_blk, or dm-linear over it: nothing reaches QEMU, so there are no points, and
    `drive` is some disk beside it, of which no property is the copy's."""

    name = "bdev-cfr-memory"
    does = "copy_file_range within a disk in the guest's memory, both ends O_DIRECT"
    needs = (
        "null_blk without zones, or dm-linear over such, or null_blk's conventional zones;"
        " and, to watch, some emulated disk"
    )
    module = BdevCfr.module
    durable = True
    on_medium = False
    survives_boot = False
    through_cache = True
    splits = True
    held = False

    def __init__(self, ref: str, block_size: int, size: int, beside: Drive) -> None:
        super().__init__(beside, ref, block_size // SECTOR, size, LIMITS)

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        for layer in free_layers(profile):
            below = list(downwards(profile, layer.name))
            disk = below[-1]
            if not isinstance(disk, NullBlk):
                continue
            if not all(isinstance(each, DmLinear) for each in below[:-1]):
                continue
            if not (size := _overwritable(below[0], disk)):
                continue
            for beside in drives(profile)[:1]:
                yield cls(layer.name, disk.block_size, size, beside)

    @property
    def atom(self) -> int:
        return self.unit * SECTOR

    def request(self, copy: Copy) -> dict[str, object]:
        return super().request(copy) | {"direct": BdevCfr.direct}

    def sizes(self) -> Iterator[tuple[str, Layout]]:
        yield from self.around_limits()

    def points(self, ranges: int) -> list[Point] | None:
        return [REHEARSED]

    def layer(self, kind: str) -> str:
        return ""

    def strays(self, logs: Logs, copy: Copy) -> Iterator[str]:
        return iter(())

    def offload(self, seen: Observation, copy: Copy) -> Offload:
        return moved_through(seen.answer, "the disk", copy)


def _overwritable(top: BaseLayer, disk: NullBlk) -> int:
    """Bytes from the start of `top`, which lies on `disk` or is it, that can be written anywhere;
    0 where there are none, or a segment may hold any zone."""
    if isinstance(top, DmLinear):
        return 0 if disk.zoned else sum(segment.size for segment in top.segments)
    return disk.zoned.conventional * disk.zoned.zone_size if disk.zoned else disk.size
