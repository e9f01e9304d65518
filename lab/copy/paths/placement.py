# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the sectors of a block device lie on the disks below it, as far as a profile tells."""

from dataclasses import dataclass

from lab.copy.model import SECTOR, Extent
from lab.copy.paths.find import disk_called, zoned
from lab.profile.layers import BaseLayer
from lab.profile.layers.mapping import DmLinear, Partition
from lab.profile.layers.targets import Nvmet
from lab.profile.models import Profile
from lab.vm.graph import Drive


@dataclass(frozen=True)
class Placement:
    """Sectors of a device, `extent`, that lie on a drive from its sector `start` on."""

    extent: Extent
    drive: Drive
    start: int

    @classmethod
    def whole(cls, drive: Drive) -> "Placement":
        """A drive as it is."""
        return cls(Extent(0, drive.size // SECTOR), drive, 0)

    def above(self, asked: Extent) -> Extent | None:
        """The sectors of the device that are those of the drive, as far as they are in here."""
        first = max(asked.start, self.start)
        end = min(asked.end, self.start + self.extent.sectors)
        return Extent(first - self.start + self.extent.start, end - first) if first < end else None


def parts_of(profile: Profile, layer: BaseLayer) -> tuple[Placement, ...]:
    """The parts of a layer whose sectors are those of emulated NVMe namespaces, without zones and
    metadata; () of any other."""
    if isinstance(layer, DmLinear):
        return linear(profile, layer)
    if isinstance(layer, Partition) and (drive := _plain(profile, layer.over)):
        extent = Extent(0, layer.size // SECTOR)
        return (Placement(extent, drive, layer.offset // SECTOR),)
    if isinstance(layer, Nvmet) and layer.connect and (drive := _plain(profile, layer.over)):
        return (Placement.whole(drive),)
    return ()


def _plain(profile: Profile, ref: str) -> Drive | None:
    """The emulated NVMe namespace of that name; None if it is none, or has zones or metadata."""
    drive = disk_called(profile, ref)
    if drive is None or not drive.nsid or drive.metadata or zoned(profile, drive):
        return None
    return drive


def linear(profile: Profile, layer: DmLinear) -> tuple[Placement, ...]:
    """The parts of a linear device, in order; () where one is not on an emulated NVMe namespace
    without zones and metadata."""
    parts: list[Placement] = []
    at = 0
    for segment in layer.segments:
        drive = _plain(profile, segment.over)
        if drive is None:
            return ()
        sectors = segment.size // SECTOR
        parts.append(Placement(Extent(at, sectors), drive, segment.offset // SECTOR))
        at += sectors
    return tuple(parts)
