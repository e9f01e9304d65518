# SPDX-License-Identifier: GPL-2.0-or-later
"""What several kinds of devices have in common: fields, and the check of sizes against blocks."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lab.profile.base import Conflict
from lab.profile.fields import Text
from lab.profile.units import Size, format_size

Serial = Annotated[
    # It also names files of the guest and links of its udev.  NVMe and virtio-blk hold 20 bytes.
    str,
    Text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}", "1 to 20 letters, digits, '.', '_' and '-'"),
    Field(
        description="Serial number, by which the lab and the guest find the device: 1 to 20 "
        "letters, digits, '.', '_' and '-'"
    ),
]

AnyBlockSize = Literal[512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]

BlockSize = Annotated[
    AnyBlockSize,
    Field(
        description="Bytes in a logical block. Not every kernel takes more than 4096: where it "
        "does not, the lab says so when the guest comes up"
    ),
]

DiskSize = Annotated[
    Size, Field(description="Bytes of the disk, such as 256M; a multiple of block_size")
]

Scheduler = Annotated[
    Literal["none", "mq-deadline", "kyber", "bfq"] | None,
    Field(
        description="I/O scheduler that the guest is to use for it; default: the kernel's choice"
    ),
]

_AbsolutePath = Annotated[
    str,
    Text(r"/[^\x00-\x1f\x7f]*", "the absolute path of a file, such as /srv/media/prepared.raw"),
]

Medium = Annotated[
    _AbsolutePath | None,
    Field(
        description="A prepared medium to start from instead of an empty one: the absolute path "
        "of a raw file of exactly the medium's size. It is cloned, never written"
    ),
]

Overwrite = Annotated[
    str,
    Text(r"[ -~]+", "the serial once more"),
    Field(description="The serial once more: whatever is on the device will be lost"),
]

Required = Annotated[
    bool,
    Field(
        description="false: features that this QEMU lacks are left out and reported as not "
        "supported, instead of an error"
    ),
]


def whole_blocks(key: str, size: int, block_size: int) -> Iterator[Conflict]:
    """A conflict at `key` unless `size` bytes are whole blocks."""
    if size % block_size:
        yield (
            (key,),
            f"{format_size(size)} is not whole blocks; "
            f"expected a multiple of block_size, {block_size} bytes",
        )


def repeated(serial: str, overwrite: str) -> Iterator[Conflict]:
    """A conflict unless a device of the host was named twice with the same serial."""
    if overwrite != serial:
        yield (
            ("overwrite",),
            f"{overwrite!r} is not the serial; expected {serial!r} once more, "
            "because all that is on the device will be lost",
        )
