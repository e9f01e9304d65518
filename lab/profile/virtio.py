# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks without namespaces that QEMU emulates: virtio-blk, and SCSI behind virtio-scsi."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lab.profile.base import Conflict, ProfileModel
from lab.profile.device import BlockSize, DiskSize, Medium, Scheduler, Serial, whole_blocks
from lab.profile.fields import Text


class VirtioDisk(ProfileModel):
    """What a virtio-blk and a SCSI disk have in common."""

    size: DiskSize
    block_size: BlockSize = 512
    discard: bool = Field(True, description="Whether the disk can discard blocks (trim, unmap)")
    write_cache: bool = Field(
        True,
        description="Volatile write cache; false: a write is durable when it completes",
    )
    scheduler: Scheduler = None
    medium: Medium = None

    def conflicts(self) -> Iterator[Conflict]:
        yield from whole_blocks("size", self.size, self.block_size)


class VirtioBlk(VirtioDisk):
    """One virtio-blk disk."""

    type: Literal["virtio-blk"] = Field(description="A virtio-blk disk")
    serial: Serial


class VirtioScsi(VirtioDisk):
    """One SCSI disk, on a virtio-scsi controller of its own."""

    type: Literal["virtio-scsi"] = Field(
        description="A SCSI disk on a virtio-scsi controller of its own"
    )
    serial: Annotated[
        # QEMU hw/scsi/scsi-disk.c, MAX_SERIAL_LEN
        str, Text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}", "1 to 36 letters, digits, '.', '_' and '-'")
    ] = Field(
        description="Serial number, by which the lab and the guest find the disk: 1 to 36 "
        "letters, digits, '.', '_' and '-'"
    )
    rotational: bool = Field(False, description="Whether the disk says that it has platters")
