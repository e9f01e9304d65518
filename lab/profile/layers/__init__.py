# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers: what the guest stacks on its disks, in order.

A new kind of layer is one model with a `type` of its own, listed here or an entry point of a
package (see kinds.py), and the class for the guest that it names.
"""

from lab.profile.layers.base import BaseLayer, Node, Use
from lab.profile.layers.copyref import Copyref
from lab.profile.layers.data import DmCrypt, DmIntegrity, DmVerity
from lab.profile.layers.faulty import (
    DmDelay,
    DmDust,
    DmError,
    DmFlakey,
    DmLogWrites,
    DmReorder,
)
from lab.profile.layers.filesystems import Btrfs, Ext4, F2fs, FileSystem, Nfs, Xfs, Zonefs
from lab.profile.layers.kcopyd import DmClone, DmMirror, DmSnapshot, DmThin
from lab.profile.layers.loop import Loop, Zloop
from lab.profile.layers.mapping import DmLinear, DmZoned, Partition, Segment
from lab.profile.layers.md import Md
from lab.profile.layers.storing import DmPcache, DmVdo
from lab.profile.layers.synthetic import NullBlk, ScsiDebug
from lab.profile.layers.targets import NvmeConnect, Nvmet, TcmLoop

__all__ = ["OWN", "BaseLayer", "FileSystem", "Node", "Segment", "Use"]

OWN: tuple[type[BaseLayer], ...] = (
    Ext4, Xfs, Btrfs, F2fs, Zonefs, Nfs,
    Loop, Zloop, Copyref, NullBlk, ScsiDebug,
    DmLinear, DmZoned, Partition, Md,
    DmFlakey, DmError, DmDelay, DmDust, DmReorder, DmLogWrites,
    DmSnapshot, DmThin, DmMirror, DmClone,
    DmCrypt, DmIntegrity, DmVerity,
    DmVdo, DmPcache,
    Nvmet, NvmeConnect, TcmLoop,
)  # fmt: skip
"""The models of all kinds of layers that are the lab's own."""
