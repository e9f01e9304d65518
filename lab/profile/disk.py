# SPDX-License-Identifier: GPL-2.0-or-later
"""The disks that the guest will see: what layers stand on, and how a profile names them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from lab.profile.devices import Device
from lab.profile.hostdev import HostBlock, HostNvme
from lab.profile.nvme import NvmeController
from lab.profile.nvme_features import ZoneSettings
from lab.profile.virtio import VirtioBlk, VirtioScsi

Kind = Literal["nvme", "virtio-blk", "scsi"]
"""What the guest's driver makes of it: /dev/nvme0n1, /dev/vda or /dev/sda."""


@dataclass(frozen=True)
class Disk:
    """One disk of the guest.

    `ref` is how a profile names it: SERIAL, or SERIAL:NSID for a namespace; `alias` is the SERIAL
    alone where an NVMe device has one namespace, and otherwise the same as `ref`.  `device` is
    its position in the profile's devices.  `size` in bytes is None where only the host knows it,
    `nsid` where there are no namespaces, or (a controller of the host) where they are not known:
    its SERIAL then stands for its only namespace, and 512 for its unknown `block_size`.
    """

    ref: str
    alias: str
    device: int
    kind: Kind
    serial: str
    nsid: int | None
    size: int | None
    block_size: int
    metadata: int = 0
    zoned: ZoneSettings | None = None
    controllers: int = 1
    """Through how many controllers the guest reaches it."""


class Devices(Protocol):
    """Whatever has devices: a profile, or the peer in one."""

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices, in their order."""


def disks(profile: Devices) -> list[Disk]:
    """Every disk of the profile, in its order."""
    return [disk for at, device in enumerate(profile.devices) for disk in _disks(at, device)]


def _disks(at: int, device: Device) -> Iterator[Disk]:
    serial = device.serial
    match device:
        case NvmeController():
            yield from _namespaces(at, device)
        case VirtioBlk():
            yield Disk(
                serial, serial, at, "virtio-blk", serial, None, device.size, device.block_size
            )
        case VirtioScsi():
            yield Disk(serial, serial, at, "scsi", serial, None, device.size, device.block_size)
        case HostBlock():
            yield Disk(serial, serial, at, "virtio-blk", serial, None, None, device.block_size)
        case HostNvme():
            yield Disk(serial, serial, at, "nvme", serial, None, None, 512)


def _namespaces(at: int, device: NvmeController) -> Iterator[Disk]:
    for namespace in device.namespaces:
        ref = f"{device.serial}:{namespace.nsid}"
        yield Disk(
            ref=ref,
            alias=device.serial if len(device.namespaces) == 1 else ref,
            device=at,
            kind="nvme",
            serial=device.serial,
            nsid=namespace.nsid,
            size=namespace.size,
            block_size=namespace.block_size,
            metadata=namespace.metadata,
            zoned=namespace.zoned,
            controllers=device.controllers,
        )
