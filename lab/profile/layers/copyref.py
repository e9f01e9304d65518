# SPDX-License-Identifier: GPL-2.0-or-later
"""copyref, the lab's own driver: a disk over a file, whose copies are reflinks of that file."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from lab.profile.base import Conflict
from lab.profile.device import whole_blocks
from lab.profile.fields import Span, Text
from lab.profile.layers.base import BaseLayer, Node, Reference, Use
from lab.profile.nvme_features import CopyLimits, copy_or_none
from lab.profile.units import Size

FAULTS = (
    "fail", "short", "drop", "half", "zero", "wrong", "torn", "shift", "spill", "move",
    "overstate", "swallow", "rename", "unsynced", "emulate", "late", "warn", "stuck",
    "stale-source", "stale-target", "unlimited", "strict",
)  # fmt: skip
"""What the driver can be told to do wrong (images/kernel/modules/copyref/fault.c)."""

Fault = Annotated[
    str,
    Text(
        rf"({'|'.join(FAULTS)})( [0-9]{{1,5}}( [0-9]{{1,6}})?)?",
        f"KIND [RANGE [ARGUMENT]], such as 'drop 2', where KIND is one of {', '.join(FAULTS)}",
    ),
]


class DriverLimits(CopyLimits):
    """Limits of one copy of the driver, in blocks of its disk."""

    mcl: Annotated[int, Span(0, 2**32 - 1, "blocks per copy")] = Field(
        128, description="Blocks in one copy; may be less than mssrl, unlike that of a namespace"
    )

    def conflicts(self) -> Iterator[Conflict]:
        return iter(())


DriverLimitsOrNone = Annotated[
    DriverLimits,
    BeforeValidator(copy_or_none, json_schema_input_type=DriverLimits | Literal["none"]),
]
"""Limits of a copy of the driver, or the word for a disk without copies."""


class Copyref(BaseLayer):
    """A disk over a file of its own on another layer, whose copies are copies in that file."""

    guest_class = "copyref.Copyref"
    kernel_modules = ("copyref",)

    type: Literal["copyref"] = Field(
        description="A disk over a file, whose copies are reflinks of it: the reference for copy "
        "offload, by a module of the lab's own"
    )
    over: Reference = Field(description="The file system that holds the file")
    size: Size = Field(description="Bytes of the file, such as 256M; a multiple of block_size")
    block_size: Literal[512, 1024, 2048, 4096] = Field(
        4096,
        description="Bytes in a logical block; below those of the file system copies of single "
        "blocks are no reflinks",
    )
    direct_io: bool = Field(
        True, description="Past the page cache of the file system below. It needs a block_size of "
        "no less than that of the disk down there"
    )  # fmt: skip
    # `copy` is a method of every pydantic model, so the attribute needs another name.
    copy_limits: DriverLimitsOrNone = Field(
        DriverLimits(mssrl=4096, mcl=16384, msrc=128),
        alias="copy",
        description="Limits of one copy, in blocks, as a namespace has them: its longest range, "
        "all of it, and its ranges; none: there are no copies",
    )
    fault: Fault | None = Field(
        None, description="What it does wrong, such as 'drop 2' with the second range of each copy"
    )

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, kinds=("directory",), zoned=None)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "block", self.size, self.block_size)

    def conflicts(self) -> Iterator[Conflict]:
        yield from whole_blocks("size", self.size, self.block_size)
        if len(self.name) > NAME:
            yield ("name",), f"{self.name!r} is too long; expected at most {NAME} characters"


NAME = 20
"""Characters that the driver leaves for a name (COPYREF_NAME in internal.h)."""
