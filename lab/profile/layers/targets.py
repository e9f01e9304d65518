# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets: what one side offers over NVMe or SCSI, and the other uses as a disk."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from lab.profile.base import Conflict
from lab.profile.layers.base import BaseLayer, LayerName, Node, Reference, Use
from lab.profile.units import Size, format_size

NVMET_FILE_BLOCK = 4096
"""Bytes in a logical block of an nvmet namespace over a file: the block of the file system, and
no more than this (drivers/nvme/target/io-cmd-file.c)."""


class BackedTarget(BaseLayer):
    """A target over a block device, or over a file on a file system."""

    over: Reference = Field(description="A block device; or a file system, for a file on it")
    size: Size | None = Field(None, description="Bytes of the file, over a file system")

    def uses(self) -> Iterator[Use]:
        if self.size is None:
            yield Use(("over",), self.over)
        else:
            yield Use(("over",), self.over, kinds=("directory",), zoned=None)

    def _whole_blocks(self, block_size: int) -> Iterator[Conflict]:
        if self.size is not None and self.size % block_size:
            yield (
                ("size",),
                f"{format_size(self.size)} is not whole blocks; "
                f"expected a multiple of {block_size} bytes",
            )


class Nvmet(BackedTarget):
    """The kernel's NVMe target, and the disk that it gives over the transport."""

    guest_class = "nvme_target.Nvmet"
    type: Literal["nvmet"] = Field(description="The kernel's NVMe target")
    transport: Literal["loop", "tcp"] = Field(
        "loop", description="loop: within the guest; tcp: over the network"
    )
    connect: bool = Field(
        True,
        description="Connect to it in the same guest, which then has it as a disk; false: leave "
        "that to the other guest",
    )
    buffered: bool = Field(
        False, description="Over a file: through the page cache instead of direct I/O"
    )

    def uses(self) -> Iterator[Use]:
        for use in super().uses():
            # It passes the zones of a block device on.
            yield Use(use.key, use.ref, use.kinds, zoned=None)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        kind: Literal["block", "export"] = "block" if self.connect else "export"
        if self.size is not None:
            yield Node(self.name, kind, self.size, NVMET_FILE_BLOCK)
        else:
            yield Node(self.name, kind, below[0].size, below[0].block_size, below[0].zoned)

    def conflicts(self) -> Iterator[Conflict]:
        yield from self._whole_blocks(NVMET_FILE_BLOCK)
        if self.transport == "loop" and not self.connect:
            yield ("connect",), "loop reaches no other guest; expected true, or transport: tcp"
        if self.buffered and self.size is None:
            yield (
                ("buffered",),
                "a block device has no page cache here; expected a size, for a file",
            )


class NvmeConnect(BaseLayer):
    """A disk from the NVMe target of the peer."""

    guest_class = "nvme_target.NvmeConnect"
    type: Literal["nvme-connect"] = Field(description="A disk from the peer's NVMe target")
    target: LayerName = Field(description="The nvmet layer of the peer, with connect: false")

    def uses(self) -> Iterator[Use]:
        yield Use(("target",), self.target, kinds=("export",), zoned=None)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "block", below[0].size, below[0].block_size, below[0].zoned)


class TcmLoop(BackedTarget):
    """The kernel's SCSI target (LIO) within the guest: a SCSI disk with Extended Copy."""

    guest_class = "scsi_target.TcmLoop"
    type: Literal["tcm-loop"] = Field(
        description="The kernel's SCSI target (LIO) as a disk in the same guest, with Extended "
        "Copy; iblock over a block device, fileio over a file"
    )
    block_size: Literal[512, 4096] | None = Field(
        None,
        description="Bytes in a logical block, over a file (default: 512); a block device passes "
        "its own on. Extended Copy needs the same on both disks",
    )
    write_back: bool = Field(
        False, description="Over a file: acknowledge writes from the page cache (fileio)"
    )

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        if self.size is not None:
            yield Node(self.name, "block", self.size, self.block_size or 512)
        else:
            yield Node(self.name, "block", below[0].size, below[0].block_size)

    def conflicts(self) -> Iterator[Conflict]:
        yield from self._whole_blocks(self.block_size or 512)
        if self.write_back and self.size is None:
            yield ("write_back",), "iblock has no cache of its own; expected a size, for a file"
        if self.block_size and self.size is None:
            yield ("block_size",), "iblock has that of its device; expected a size, for a file"
