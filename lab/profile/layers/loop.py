# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices over files: loop, with a reflink file system below the reference model; and zloop."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from lab.profile.base import Conflict
from lab.profile.device import BlockSize, whole_blocks
from lab.profile.layers.base import BaseLayer, Node, Reference, Use
from lab.profile.layers.synthetic import MemoryZones, whole_zones
from lab.profile.units import Size, format_size

MIB = 2**20


class Loop(BaseLayer):
    """A loop device over a file of its own on another layer."""

    guest_class = "loop.Loop"
    type: Literal["loop"] = Field(description="A loop device over a file")
    over: Reference = Field(description="The file system that holds the file")
    size: Size = Field(description="Bytes of the file, such as 256M; a multiple of block_size")
    block_size: BlockSize = 512
    direct_io: bool = Field(
        False,
        description="Past the page cache of the file system below (losetup --direct-io). It needs "
        "a block_size of no less than that of the disk down there",
    )
    partitions: tuple[Size, ...] = Field(
        (),
        description="Sizes of partitions, whole MiB each, which layers above name NAME:1, NAME:2; "
        "the first MiB of the device is the table's",
        max_length=16,
    )

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, kinds=("directory",), zoned=None)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "block", self.size, self.block_size)
        for number, size in enumerate(self.partitions, start=1):
            part = f"{self.name}:{number}"
            yield Node(part, "block", size, self.block_size, within=self.name)

    def conflicts(self) -> Iterator[Conflict]:
        yield from whole_blocks("size", self.size, self.block_size)
        for index, size in enumerate(self.partitions):
            if size % MIB:
                yield ("partitions", index), f"{format_size(size)}; expected whole MiB"
        # The table takes a MiB at the start, and GPT's copy of it some sectors at the end.
        if self.partitions and (room := self.size - 2 * MIB) < sum(self.partitions):
            yield (
                ("partitions",),
                f"{format_size(sum(self.partitions))} together; expected at most "
                f"{format_size(max(room, 0))}, the device's size without 2M for the tables",
            )


class Zloop(BaseLayer):
    """A zoned device whose zones are files: what is on it outlasts the guest."""

    guest_class = "zloop.Zloop"
    type: Literal["zloop"] = Field(
        description="A zoned device over files, one for each zone; Linux 6.16 and later, where it "
        "is configured"
    )
    over: Reference = Field(description="The file system that holds the files")
    size: Size = Field(description="Bytes of the device, whole zones, two or more")
    zoned: MemoryZones = Field(description="Its zones")
    buffered: bool = Field(
        False, description="Through the page cache of the file system below (buffered_io)"
    )
    discard_write_cache: bool = Field(
        False,
        description="When it is taken down, what was not flushed is lost, as in a power cut",
    )

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, kinds=("directory",), zoned=None)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        # It has the block size of the file system (drivers/block/zloop.c).
        conventional = self.zoned.conventional > 0
        yield Node(self.name, "block", self.size, 4096, True, conventional=conventional)

    def conflicts(self) -> Iterator[Conflict]:
        if self.size <= self.zoned.zone_size:
            yield ("size",), f"{format_size(self.size)}; expected more than one zone"
        else:
            yield from whole_zones(self.size, self.zoned)
