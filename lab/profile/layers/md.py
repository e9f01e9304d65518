# SPDX-License-Identifier: GPL-2.0-or-later
"""md, the kernel's software RAID, by mdadm."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from lab.profile.base import Conflict
from lab.profile.layers.base import BaseLayer, Node, Reference, References, Use, members
from lab.profile.layers.kcopyd import Chunk

Level = Literal["linear", "raid0", "raid1", "raid4", "raid5", "raid6", "raid10"]

LEAST = {"linear": 1, "raid0": 1, "raid1": 2, "raid4": 3, "raid5": 3, "raid6": 4, "raid10": 2}
"""Members that a level needs so that none is missing (md(4), mdadm(8))."""

PARITY = ("raid4", "raid5", "raid6")


class Md(BaseLayer):
    """An array of block devices."""

    guest_class = "md.Md"
    type: Literal["md"] = Field(description="Software RAID (md) over several devices")
    over: References = Field(description="The list of its members")
    level: Level = Field(description="How data lie on the members")
    chunk: Chunk | None = Field(
        None, description="Bytes of a stripe on one member, such as 64K; default: mdadm's own"
    )
    consistency: Literal["resync", "bitmap", "ppl"] = Field(
        "resync",
        description="What brings the members into line after a crash (mdadm "
        "--consistency-policy): all is read, or what a bitmap marks; ppl, for raid5, closes the "
        "write hole",
    )
    journal: Reference | None = Field(
        None, description="A device for the journal that closes the write hole of raid4, 5 and 6"
    )

    @property
    def redundant(self) -> str:
        return "" if self.level in ("linear", "raid0") else f"md, {self.level}"

    def conflicts(self) -> Iterator[Conflict]:
        least = LEAST[self.level]
        if len(self.over) < least:
            yield ("over",), f"{len(self.over)} members; expected at least {least} of {self.level}"
        if self.chunk and self.level in ("linear", "raid1"):
            yield ("chunk",), f"{self.level} has no stripes; expected none"
        wanted: Sequence[str] = {
            "resync": list(LEAST),
            "bitmap": ["raid1", *PARITY, "raid10"],
            "ppl": ["raid5"],
        }[self.consistency]
        if self.level not in wanted:
            yield (
                ("consistency",),
                f"{self.consistency} is not for {self.level}; expected a level of: "
                f"{', '.join(wanted)}",
            )
        if self.journal and self.level not in PARITY:
            yield ("journal",), f"not for {self.level}; expected a level of: {', '.join(PARITY)}"
        elif self.journal and self.consistency != "resync":
            yield (
                ("journal",),
                f"does not go together with {self.consistency}; expected one of them",
            )

    def uses(self) -> Iterator[Use]:
        yield from members(self.over)
        if self.journal:
            yield Use(("journal",), self.journal)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        # Behind its superblock and whatever mdadm leaves free for a bitmap: known when made.
        yield Node(self.name, "block", None, max(node.block_size for node in below))
