# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage of the host that is handed to the guest: everything on it will be lost.

What a profile says here is only half of the safety; lab/vm/given/disk.py looks at the device
itself.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lab.profile.base import Conflict, ProfileModel
from lab.profile.device import BlockSize, Overwrite, Serial, repeated
from lab.profile.fields import Text


class HostDevice(ProfileModel):
    """What all devices of the host have in common."""

    serial: Serial
    overwrite: Overwrite

    def conflicts(self) -> Iterator[Conflict]:
        yield from repeated(self.serial, self.overwrite)


class HostBlock(HostDevice):
    """A block device of the host, which the guest sees as a virtio-blk disk."""

    type: Literal["host-block"] = Field(
        description="A disk of the host, given to the guest as a virtio-blk disk"
    )
    path: Annotated[
        str, Text(r"/dev/[^\x00-\x20\x7f]+", "a path such as /dev/disk/by-id/nvme-MODEL_SERIAL")
    ] = Field(description="Path of a whole disk of the host, best below /dev/disk/by-id")
    block_size: BlockSize = 512


class HostNvme(HostDevice):
    """A PCI NVMe controller of the host with all its namespaces, handed over by vfio-pci."""

    type: Literal["host-nvme"] = Field(
        description="An NVMe controller of the host, given to the guest whole by vfio-pci"
    )
    address: Annotated[
        str,
        Text(
            r"[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]",
            "a PCI address such as 0000:01:00.0, as `lspci -D` prints it",
        ),
    ] = Field(description="PCI address of the controller, such as 0000:01:00.0")
