# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper targets that copy by kcopyd, the kernel's own copying thread."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lab.profile.base import Conflict
from lab.profile.layers.base import BaseLayer, Node, Over, Reference, Use
from lab.profile.layers.mapping import SECTOR
from lab.profile.units import Size, format_size

THIN_CHUNK = (64 * 2**10, 2**30)
"""Least and most bytes (drivers/md/dm-thin.c, DATA_DEV_BLOCK_SIZE_MIN_SECTORS, ..._MAX_...)."""

THIN_METADATA = 2 * 2**20
"""Least bytes of the metadata (admin-guide/device-mapper/thin-provisioning.rst).  In less the pool
is made, and turns read-only at the first write."""


def _power_of_two(size: int) -> int:
    if size & (size - 1) or size < 4096:
        raise ValueError(f"{format_size(size)}; expected a power of two, at least 4K")
    return size


def _thin_chunk(size: int) -> int:
    least, most = THIN_CHUNK
    if size & (size - 1) or not least <= size <= most:
        raise ValueError(f"{format_size(size)}; expected a power of two, from 64K to 1G")
    return size


Chunk = Annotated[Size, AfterValidator(_power_of_two)]


class DmSnapshot(Over):
    """A snapshot: a chunk is copied to the store before it first changes, on either side."""

    guest_class = "kcopyd.Snapshot"
    type: Literal["dm-snapshot"] = Field(
        description="A writable snapshot as NAME, its origin as NAME:origin; the first write to a "
        "chunk of either copies it"
    )
    store: Reference = Field(description="The block device that keeps the copied chunks")
    chunk: Chunk = Field(
        4096, description="Bytes copied at once, such as 16K", json_schema_extra={"default": "4K"}
    )
    persistent: bool = Field(True, description="Whether the snapshot outlasts a reboot")

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over)
        yield Use(("store",), self.store)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "block", below[0].size, max(node.block_size for node in below))
        yield Node(f"{self.name}:origin", "block", below[0].size, below[0].block_size)


class DmThin(BaseLayer):
    """A thin volume from a pool of its own."""

    guest_class = "kcopyd.Thin"
    type: Literal["dm-thin"] = Field(
        description="A thin volume as NAME; with a snapshot, that is NAME:snapshot"
    )
    over: Reference = Field(description="The block device for the pool's data")
    metadata: Reference = Field(description="The block device for the pool's metadata")
    size: Size = Field(description="Bytes of the volume, which may be more than the pool has")
    chunk: Annotated[Size, AfterValidator(_thin_chunk)] = Field(
        65536,
        description="Bytes allocated and copied at once: a power of two from 64K to 1G",
        json_schema_extra={"default": "64K"},
    )
    snapshot: bool = Field(
        False,
        description="Take a snapshot when the volume is made, after its first 8M were filled with "
        "numbered blocks: a write to these chunks copies them",
    )

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over)
        yield Use(("metadata",), self.metadata, least=THIN_METADATA)

    def conflicts(self) -> Iterator[Conflict]:
        if self.size % SECTOR:
            yield ("size",), f"{format_size(self.size)}; expected a multiple of {SECTOR} bytes"

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "block", self.size, below[0].block_size)
        if self.snapshot:
            yield Node(f"{self.name}:snapshot", "block", self.size, below[0].block_size)


class DmMirror(BaseLayer):
    """Legs with the same content, which kcopyd brings into line."""

    guest_class = "kcopyd.Mirror"
    type: Literal["dm-mirror"] = Field(
        description="Devices with the same content; the first is copied to the others"
    )
    legs: Annotated[tuple[Reference, ...], Field(min_length=2, max_length=8)] = Field(
        description="The block devices, of the same size"
    )
    region: Chunk = Field(
        524288, description="Bytes copied at once", json_schema_extra={"default": "512K"}
    )

    def uses(self) -> Iterator[Use]:
        for index, leg in enumerate(self.legs):
            yield Use(("legs", index), leg)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        sizes = [node.size for node in below if node.size is not None]
        size = min(sizes) if len(sizes) == len(below) else None
        yield Node(self.name, "block", size, max(node.block_size for node in below))


class DmClone(Over):
    """A copy that can be used at once, while kcopyd fetches the rest from the source."""

    guest_class = "kcopyd.Clone"
    type: Literal["dm-clone"] = Field(
        description="A copy of a device that can be used while it is being made"
    )
    destination: Reference = Field(description="The block device that becomes the copy")
    metadata: Reference = Field(description="The block device for what has been copied")
    region: Chunk = Field(
        4096, description="Bytes copied at once, such as 4K", json_schema_extra={"default": "4K"}
    )

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, writes=False)
        yield Use(("destination",), self.destination)
        yield Use(("metadata",), self.metadata)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        source, destination, _ = below
        block = max(source.block_size, destination.block_size)
        yield Node(self.name, "block", source.size, block)
