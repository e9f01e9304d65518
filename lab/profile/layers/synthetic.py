# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that the guest's kernel makes of memory; what is on them is gone with the boot."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from lab.profile.base import Conflict, ProfileModel
from lab.profile.device import BlockSize
from lab.profile.fields import Span
from lab.profile.layers.base import BaseLayer, Node
from lab.profile.units import Size, format_size

MIB = 2**20


class MemoryZones(ProfileModel):
    """Zones of a disk that the kernel makes.  The drivers count in MiB."""

    zone_size: Size = Field(description="Bytes of a zone: a power of two, at least 1M")
    zone_capacity: Size | None = Field(
        None, description="Writable bytes of a zone, whole MiB; default: all of it"
    )
    conventional: Annotated[int, Span(0, 2**16, "conventional zones")] = Field(
        0, description="Zones at the start that can be overwritten"
    )
    max_open: Annotated[int, Span(0, 2**16, "open zones (0: no limit)")] = Field(
        0, description="Most zones open at once; 0 means no limit"
    )

    def conflicts(self) -> Iterator[Conflict]:
        size = self.zone_size
        if size % MIB or size & (size - 1):
            yield ("zone_size",), f"{format_size(size)}; expected a power of two, at least 1M"
        capacity = self.zone_capacity
        if capacity is not None and (capacity % MIB or capacity > size):
            yield (
                ("zone_capacity",),
                f"{format_size(capacity)}; expected whole MiB, at most {format_size(size)}",
            )


class MemoryDisk(BaseLayer):
    """A disk in the guest's memory."""

    size: Size = Field(description="Bytes, whole MiB; they are taken from the guest's memory")
    block_size: BlockSize = 512
    zoned: MemoryZones | None = Field(None, description="Makes the disk zoned, host-managed")

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(
            self.name,
            "block",
            self.size,
            self.block_size,
            self.zoned is not None,
            conventional=bool(self.zoned and self.zoned.conventional),
        )

    def conflicts(self) -> Iterator[Conflict]:
        if self.size % MIB:
            yield ("size",), f"{format_size(self.size)}; expected whole MiB"
        if self.zoned:
            yield from whole_zones(self.size, self.zoned)


def whole_zones(size: int, zoned: MemoryZones) -> Iterator[Conflict]:
    """Conflicts of a device's `size` with its zones, `zoned`."""
    if size % zoned.zone_size:
        zone = format_size(zoned.zone_size)
        yield (
            ("size",),
            f"{format_size(size)} is not whole zones; expected a multiple of {zone}",
        )
    elif zoned.conventional >= size // zoned.zone_size:
        yield (
            ("zoned", "conventional"),
            f"{zoned.conventional} leaves no zone to write in order; "
            f"expected less than {size // zoned.zone_size}, the number of zones",
        )


class NullBlk(MemoryDisk):
    """null_blk with memory behind it."""

    guest_class = "synthetic.NullBlk"
    type: Literal["null-blk"] = Field(description="null_blk, the kernel's disk in memory")
    max_copy_bytes: Annotated[int, Span(0, 2**32 - 1, "bytes")] | None = Field(
        None,
        description="Bytes of the longest copy; 0: it has none. Only a kernel whose null_blk can"
        " copy knows this",
    )


class ScsiDebug(MemoryDisk):
    """scsi_debug: a SCSI disk in memory.  The module makes one kind of disk, so there is one."""

    guest_class = "synthetic.ScsiDebug"
    type: Literal["scsi-debug"] = Field(
        description="scsi_debug, the kernel's SCSI disk in memory; one in a guest"
    )
