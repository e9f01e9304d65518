# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers that only say where blocks are: device-mapper targets, and partitions."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from lab.profile.base import Conflict, ProfileModel
from lab.profile.fields import Span
from lab.profile.layers.base import BaseLayer, Node, Reference, Use
from lab.profile.units import Offset, Size, format_size

SECTOR = 512
"""Bytes; the device mapper's unit."""


class SectorRange(ProfileModel):
    """Part of a block device, in whole sectors of 512 bytes."""

    offset: Offset = Field(0, description="Bytes before it, such as 8M")
    size: Size = Field(description="Bytes, such as 8M")

    def conflicts(self) -> Iterator[Conflict]:
        for key, value in (("offset", self.offset), ("size", self.size)):
            if value % SECTOR:
                yield (key,), f"{format_size(value)}; expected a multiple of {SECTOR} bytes"


class Segment(SectorRange):
    """Part of a block device that a linear device is made of."""

    over: Reference = Field(description="The block device")


class DmLinear(BaseLayer):
    """Segments of block devices, one behind the other: what crosses them must be split."""

    guest_class = "mapping.Linear"
    type: Literal["dm-linear"] = Field(description="Segments of block devices joined to one")
    segments: Annotated[tuple[Segment, ...], Field(min_length=1)] = Field(
        description="The parts it is made of, in order"
    )

    def uses(self) -> Iterator[Use]:
        for index, part in enumerate(self.segments):
            key = ("segments", index, "over")
            yield Use(
                key,
                part.over,
                zoned=None,
                extent=(part.offset, part.size),
                least=part.offset + part.size,
            )

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(
            self.name,
            "block",
            sum(segment.size for segment in self.segments),
            max(node.block_size for node in below),
            any(node.zoned for node in below),
        )


class Partition(SectorRange, BaseLayer):
    """A partition, of which the kernel is told by ioctl: there is no table on the disk."""

    guest_class = "mapping.Partition"
    type: Literal["partition"] = Field(
        description="Part of a disk as the kernel's partition of it, without a table on the disk"
    )
    over: Reference = Field(description="The disk")
    number: Annotated[int, Span(1, 128, "a partition's number")] = Field(
        1, description="Its number on that disk"
    )

    def uses(self) -> Iterator[Use]:
        yield Use(
            ("over",), self.over, extent=(self.offset, self.size), least=self.offset + self.size
        )

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "block", self.size, below[0].block_size)


class DmZoned(BaseLayer):
    """A block device without zones out of a zoned one."""

    guest_class = "mapping.Zoned"
    type: Literal["dm-zoned"] = Field(description="Makes a zoned device writable anywhere")
    over: Reference = Field(
        description="The zoned device; without `cache` it needs conventional zones"
    )
    cache: Reference | None = Field(
        None, description="A device without zones for metadata and buffered writes"
    )

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, zoned=True)
        if self.cache:
            yield Use(("cache",), self.cache)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        # dm-zoned works in blocks of 4 KiB (drivers/md/dm-zoned.h); its size is known when made.
        yield Node(self.name, "block", None, 4096)
