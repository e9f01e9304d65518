# SPDX-License-Identifier: GPL-2.0-or-later
"""copy_file_range within block devices of which only the guest knows where their sectors lie."""

from collections.abc import Iterator

from lab.copy.contract import Offload
from lab.copy.model import SECTOR, Copy, Layout
from lab.copy.paths.base import CopyPath, Observation
from lab.copy.paths.bios import moved_through
from lab.copy.paths.files import SyncedPath
from lab.copy.paths.find import bottom, free_layers
from lab.profile.layers import BaseLayer
from lab.profile.layers.copyref import Copyref, DriverLimits
from lab.profile.layers.loop import Loop
from lab.profile.layers.md import Md
from lab.profile.layers.targets import Nvmet, TcmLoop
from lab.profile.models import CopyLimits, Profile, stack
from lab.vm.graph import Drive


class BdevCfrStacked(SyncedPath):
    """Within a disk over files or over several others, whose block layer is asked for the copy."""

    name = "bdev-cfr-stacked"
    does = "copy_file_range within a block device over files or over several, both ends O_DIRECT"
    needs = (
        "a copyref, loop, md or tcm-loop layer, or nvmet over a file, that nothing stands on; and "
        "an emulated disk below"
    )
    module = "bdev"
    splits = True

    def __init__(self, profile: Profile, layer: BaseLayer, drive: Drive) -> None:
        node = stack(profile).nodes[layer.name]
        # Of md only the guest knows; what mdadm keeps of a member is far less than half.
        super().__init__(profile, layer, drive, node.size or drive.size // 2)
        self._asked = layer.copy_limits if isinstance(layer, Copyref) else None
        self._shares = isinstance(layer, Copyref)
        if not self.holder:
            self.unit = max(node.block_size, drive.block_size) // SECTOR
        self._scale = self.unit * SECTOR // node.block_size

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        for layer in free_layers(profile):
            if _suits(layer) and (drive := bottom(profile, layer.name)):
                yield cls(profile, layer, drive)

    @property
    def bounds(self) -> CopyLimits:
        """Those of the driver, of blocks that are copied whole."""
        if not self._asked or self._asked.none:
            return self.limits
        mssrl, mcl = (max(1, each // self._scale) for each in (self._asked.mssrl, self._asked.mcl))
        return DriverLimits(msrc=self._asked.msrc, mssrl=mssrl, mcl=mcl)

    def layer(self, kind: str) -> str:
        return self.ref if kind == "copy limit" else super().layer(kind)

    def request(self, copy: Copy) -> dict[str, object]:
        return super().request(copy) | {"direct": (True, True)}

    def sizes(self) -> Iterator[tuple[str, Layout]]:
        if self._asked:
            yield from self.around_limits()

    def offload(self, seen: Observation, copy: Copy) -> Offload:
        """What a target or a device does with a copy that it is given is its own affair; of a
        driver that shares blocks, that it did so."""
        above = moved_through(seen.answer, "the disk", copy)
        if above.against or not self._shares:
            return above
        return super().offload(seen, copy)


def _suits(layer: BaseLayer) -> bool:
    """Whether it is a disk whose sectors nobody but the guest can find."""
    if isinstance(layer, Nvmet):
        return layer.connect and layer.size is not None
    if isinstance(layer, Loop):
        return not layer.partitions
    return isinstance(layer, (Copyref, Md, TcmLoop))
