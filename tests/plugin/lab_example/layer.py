# SPDX-License-Identifier: GPL-2.0-or-later
"""The layer ram-disk: a disk in the guest's memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from lab.profile.layers.base import BaseLayer, Node
from lab.profile.units import Size


class RamDisk(BaseLayer):
    """brd, whose module makes disks of one size, so that there is one; it is gone with the boot."""

    guest_class = "ram_disk.RamDisk"
    guest_scripts = (Path(__file__).parent / "guest/ram_disk.py",)

    type: Literal["ram-disk"] = Field(description="brd, the kernel's RAM disk; one in a guest")
    size: Size = Field(description="Bytes, whole KiB; they are taken from the guest's memory")

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "block", self.size)
