# SPDX-License-Identifier: GPL-2.0-or-later
"""What must hold between the devices of one guest."""

from collections.abc import Iterator, Sequence

from lab.profile.base import Conflict
from lab.profile.devices import Device
from lab.profile.nvme import NvmeController

ONE_PORT_EACH = 24
"""Controllers that fit beside the machine's own devices on QEMU's q35, which has 32 slots, each on
a slot of its own."""

MAX_PORTS = 128
"""Controllers that fit when eight share a slot, and half of the slots stay free."""

OWN_SERIALS = ("root", "modules")
"""The disks from which every guest boots; its initramfs looks for them by serial."""


def between(devices: tuple[Device, ...]) -> Iterator[Conflict]:
    """Serials that are not unique, and controllers for which there is no slot."""
    first: dict[str, int] = {}
    for index, device in enumerate(devices):
        serial = ("devices", index, "serial")
        other = first.setdefault(device.serial, index)
        if other != index:
            yield (
                serial,
                f"{device.serial!r} is already the serial of devices[{other}]; "
                "expected a different serial for each device",
            )
        if device.serial in OWN_SERIALS:
            yield serial, f"{device.serial!r} is a disk of the lab's own; expected another serial"
    if (wanted := ports(devices)) > MAX_PORTS:
        yield ("devices",), f"{wanted} controllers do not fit; expected at most {MAX_PORTS}"


def ports(devices: Sequence[Device]) -> int:
    """How many PCI controllers the devices are."""
    return sum(
        device.controllers if isinstance(device, NvmeController) else 1 for device in devices
    )
