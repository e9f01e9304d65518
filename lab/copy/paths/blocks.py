# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths that end in a block device: what a SCSI target and kcopyd do."""

from collections.abc import Iterator

from lab.copy.contract import Offload
from lab.copy.model import SECTOR, Copy, Extent, Layout
from lab.copy.paths.base import CopyPath, Observation
from lab.copy.paths.bios import moved_through
from lab.copy.paths.find import disk_called, free_layers, free_namespaces, reference
from lab.faults.model import Point
from lab.profile.layers.targets import TcmLoop
from lab.profile.models import CopyLimits, Profile

LIMITS = CopyLimits(msrc=64, mssrl=1024, mcl=4096)


class ScsiXcopy(CopyPath):
    """Extended Copy within a disk of the guest's SCSI target."""

    name = "scsi-xcopy"
    by_its_task = False
    does = "Extended Copy within a SCSI disk of the kernel's target, a command for each range"
    needs = "a tcm-loop layer over an emulated disk, which nothing stands on"
    module = "scsi"

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        for layer in free_layers(profile):
            if not isinstance(layer, TcmLoop):
                continue
            # Straight over a disk an address of one is an address of the other.
            drive = disk_called(profile, layer.over)
            if drive:
                yield cls(drive, layer.name, drive.block_size // SECTOR, drive.size, LIMITS)

    def points(self, ranges: int) -> list[Point] | None:
        return None

    def offload(self, seen: Observation, copy: Copy) -> Offload:
        return moved_through(seen.answer, "the SCSI disk", copy)


class DmKcopyd(CopyPath):
    """A mirror that comes into line, region by region."""

    name = "dm-kcopyd"
    by_its_task = False
    does = "a dm-mirror that kcopyd brings into line, a region for each range"
    needs = "an emulated NVMe namespace without zones, metadata or layers"
    module = "mirror"
    any_shape = False

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        for drive, namespace in free_namespaces(profile):
            if not namespace.zoned and not namespace.metadata:
                unit = drive.block_size // SECTOR
                yield cls(drive, reference(drive), unit, drive.size, LIMITS)

    def points(self, ranges: int) -> list[Point] | None:
        return None

    def layout(self, ranges: int, blocks: int) -> Layout:
        """Sources without gaps, all of one length: the regions of the mirror's first leg."""
        length = blocks * self.unit
        start = self.first + self.guard
        sources = tuple(Extent(start + index * length, length) for index in range(ranges))
        return self._fitting(Copy(sources, sources[-1].end + self.guard, self.unit))

    def offload(self, seen: Observation, copy: Copy) -> Offload:
        return moved_through(seen.answer, "the mirror")
