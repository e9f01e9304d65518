# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper targets that keep data in a way of their own: vdo and pcache."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from lab.profile.base import Conflict
from lab.profile.fields import Text
from lab.profile.layers.base import Node, Over, Reference
from lab.profile.units import Size, format_size

VDO_BLOCK = 4096
"""Bytes (admin-guide/device-mapper/vdo.rst)."""


class DmVdo(Over):
    """Stores blocks of the same content once."""

    guest_class = "storing.Vdo"
    type: Literal["dm-vdo"] = Field(
        description="Stores blocks of the same content once; Linux 6.9 and later"
    )
    over: Reference = Field(
        description="The block device for data and the index, which alone takes some 2.5G; "
        "what is not written takes no room on the host"
    )
    size: Size = Field(description="Bytes of the volume, which may be more than the device has")
    block_size: Literal[512, 4096] = Field(
        4096, description="Bytes of the smallest request; less than 4096 is read, changed, written"
    )
    deduplication: bool = Field(True, description="Look for the same content")
    compression: bool = Field(False, description="Compress what is stored")

    def conflicts(self) -> Iterator[Conflict]:
        if self.size % VDO_BLOCK:
            yield ("size",), f"{format_size(self.size)}; expected a multiple of {VDO_BLOCK} bytes"

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "block", self.size, self.block_size)


class DmPcache(Over):
    """A cache in persistent memory, which writes back later."""

    guest_class = "storing.Pcache"
    type: Literal["dm-pcache"] = Field(
        description="A write-back cache in persistent memory; Linux 6.18 and later, where it is "
        "configured"
    )
    pmem: Annotated[
        str, Text(r"/dev/pmem[0-9]{1,3}", "a persistent-memory device such as /dev/pmem0")
    ] = Field(
        "/dev/pmem0",
        description="The guest's persistent memory, of 512M or more, which memmap=SIZE!START "
        "among the guest's kernel_args makes of some of its memory",
    )
    data_crc: bool = Field(False, description="Keep a checksum of what is cached")
