# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths that end in a file system: copies within a file, and the reference model on a loop device.

They are synced before they report success: a copy that shares blocks writes nothing but the file
system's log, and that when it is told to.
"""

from collections.abc import Iterator
from copy import copy as clone
from errno import EINVAL
from typing import Any

from lab.copy.answers import MendAnswer, checked
from lab.copy.contract import Offload
from lab.copy.ground import errno_name
from lab.copy.model import SECTOR, Completion, Copy, Layout
from lab.copy.paths.base import CopyPath, Observation
from lab.copy.paths.bios import by_absence, moved_through
from lab.copy.paths.find import bottom, bottoms, downwards, free_layers, zoned
from lab.copy.paths.instrument import Instrument, Subject
from lab.faults.model import Point
from lab.profile.layers import BaseLayer
from lab.profile.layers.copyref import Copyref, DriverLimits
from lab.profile.layers.faulty import DmFlakey
from lab.profile.layers.filesystems import Btrfs, Ext4, F2fs, FileSystem, Nfs, Xfs
from lab.profile.layers.loop import Loop
from lab.profile.layers.mapping import DmLinear
from lab.profile.models import CopyLimits, Profile
from lab.vm.graph import Drive

UNIT = 8
"""Sectors in the smallest part that file systems share: 4 KiB, or a block of a disk whose blocks
are larger."""

FILE = "lab-copy"
"""Name of the file, in the root of the file system."""

FILE_SIZE = 32 << 20

LIMITS = CopyLimits(msrc=64, mssrl=256, mcl=2048)
"""Ranges, blocks in one and in all: system calls have no limits, but a window must be tagged."""


class SyncedPath(CopyPath):
    """What file system paths share: the ground is reached through the guest, only a rehearsal
    tells the points, and a fault may take the file system down."""

    durable = True
    on_medium = False
    through_cache = True

    def __init__(self, profile: Profile, layer: BaseLayer, drive: Drive, size: int) -> None:
        unit = max(UNIT, drive.block_size // SECTOR)
        super().__init__(drive, layer.name, unit, size, LIMITS)
        below_it = list(downwards(profile, layer.name))
        self.holder = next((each for each in below_it if isinstance(each, FileSystem)), None)
        """The file system that everything is on; None where there is none."""
        strikable = [
            ("file system", (Xfs, Ext4, F2fs)),
            ("device mapper", (DmLinear, DmFlakey)),
            ("nfs", (Nfs,)),
        ]
        # QEMU keeps the state of zones in memory: after a boot all are empty, and a zoned file
        # system is gone.
        below = bottoms(profile, layer.name)
        self._others = tuple(other for other in below if other != drive)
        self.survives_boot = not any(zoned(profile, each) for each in below)
        self.redundant = next(filter(None, (each.redundant for each in below_it)), "")
        self._layers = {
            kind: each.name
            for kind, types in strikable
            for each in reversed(below_it)
            if isinstance(each, types)
        }

    def layer(self, kind: str) -> str:
        return self._layers.get(kind) or super().layer(kind)

    @property
    def others(self) -> tuple[Drive, ...]:
        return self._others

    def points(self, ranges: int) -> list[Point] | None:
        return None

    def offload(self, seen: Observation, copy: Copy) -> Offload:
        if seen.carried:
            return Offload.fell_back(
                f"{seen.carried} writes on {self._below} carried the copied data"
            )
        return by_absence(seen.answer, f"no write on {self._below} carried the copied data")

    @property
    def _below(self) -> str:
        return "the disks below" if self._others else "the disk below"

    def on(self, subject: Subject) -> Instrument[Any]:
        return _Mendable(self, subject) if self.holder else Instrument(self, subject)


class _Mendable(Instrument[SyncedPath]):
    """Where a fault may take the file system down."""

    def mend(self, *, rebooted: bool) -> str:
        holder = self.path.holder
        assert holder
        answer = self.ask(
            op="mend.mend",
            layer=holder.name,
            type=getattr(holder, "type", ""),
            node=f"/dev/lab/{holder.name}/{FILE}",
            device=f"/dev/lab/{holder.device}",
            ground=self.path.node,
            rebooted=rebooted,
        )
        problem = checked(MendAnswer, answer).problem
        return f"{holder.name}: {problem}" if problem else ""


def _shares(layer: BaseLayer) -> bool:
    """Whether a layer is a file system in which files can have blocks in common."""
    return isinstance(layer, (Btrfs, Nfs)) or (isinstance(layer, Xfs) and layer.shares)


class InFile(SyncedPath):
    """Copies within a file, range by range."""

    module = "files"
    file_size = FILE_SIZE

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        # First those that share blocks, and of them the uppermost: that asks the others below it.
        found = [layer for layer in reversed(profile.layers) if cls.suits(layer)]
        for layer in sorted(found, key=lambda each: not _shares(each)):
            if drive := bottom(profile, layer.name):
                yield cls(profile, layer, drive, FILE_SIZE)

    @classmethod
    def suits(cls, layer: BaseLayer) -> bool:
        """Whether the path can be tried on a layer."""
        raise NotImplementedError

    @property
    def node(self) -> str:
        return f"/dev/lab/{self.ref}/{FILE}"


class FsCfr(InFile):
    """copy_file_range."""

    name = "fs-cfr"
    does = "copy_file_range within a file, then fsync"
    needs = "a file system: xfs, btrfs, ext4 or nfs"

    @classmethod
    def suits(cls, layer: BaseLayer) -> bool:
        return isinstance(layer, (Xfs, Btrfs, Ext4, Nfs))


class FsClone(InFile):
    """FICLONERANGE."""

    name = "fs-clone"
    does = "FICLONERANGE within a file, then fsync"
    needs = "a file system with reflinks: xfs, btrfs, or nfs over one"

    @classmethod
    def suits(cls, layer: BaseLayer) -> bool:
        return _shares(layer)


class LoopReflink(SyncedPath):
    """The reference model."""

    name = "loop-reflink"
    does = "the reference model: ranges of a loop device, copied in its backing file"
    needs = "a loop layer without partitions that nothing stands on"
    module = "loops"
    # BLKFLSBUF, all that a program can do to the page cache, leaves there what somebody has mapped.
    maps = False

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        for layer in free_layers(profile):
            drive = bottom(profile, layer.name)
            if isinstance(layer, Loop) and not layer.partitions and drive:
                yield cls(profile, layer, drive, layer.size)

    def offload(self, seen: Observation, copy: Copy) -> Offload:
        below_it = super().offload(seen, copy)
        above = moved_through(seen.answer, "the loop device", copy)
        return above if above.against else below_it


class CopyrefCopy(SyncedPath):
    """The reference model in the kernel."""

    name = "copyref"
    does = "a copy of the lab's own driver, whose medium is a file: a reflink of it"
    needs = "a copyref layer that nothing stands on"
    module = "copyrefs"

    def __init__(self, profile: Profile, layer: Copyref, drive: Drive) -> None:
        super().__init__(profile, layer, drive, layer.size)
        self._block, self._asked = layer.block_size // SECTOR, layer.copy_limits
        # The layer's blocks may be smaller than what the file system shares, and a copy smaller
        # than that may be all that is allowed.
        scale = self.unit // self._block
        if min(self._asked.mssrl, self._asked.mcl) < scale:
            self.unit, scale = self._block, 1
        self.limits = DriverLimits(
            msrc=self._asked.msrc,
            mssrl=self._asked.mssrl // scale,
            mcl=self._asked.mcl // scale,
        )

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        for layer in free_layers(profile):
            drive = bottom(profile, layer.name)
            if isinstance(layer, Copyref) and drive and not layer.copy_limits.none:
                yield cls(profile, layer, drive)

    def layer(self, kind: str) -> str:
        return self.ref if kind == "copy limit" else super().layer(kind)

    @property
    def bounds(self) -> CopyLimits:
        """Those of the driver, in blocks of its disk."""
        return self._asked

    def sizes(self) -> Iterator[tuple[str, Layout]]:
        """In blocks of the disk, of which others than whole multiples of what the file system
        shares are no reflinks."""
        by_block = clone(self)
        by_block.unit, by_block.limits = self._block, self._asked
        yield from by_block.at_limits()

    def refuses_wrongly(self, completion: Completion) -> str:
        if completion.error == errno_name(EINVAL):
            return ""
        return f"{completion.error} for a copy above a limit, not EINVAL"

    def offload(self, seen: Observation, copy: Copy) -> Offload:
        below_it = super().offload(seen, copy)
        above = moved_through(seen.answer, "the disk", copy)
        return above if above.against else below_it
