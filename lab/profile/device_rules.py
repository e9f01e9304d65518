"""What must hold between the devices of one guest."""

from collections.abc import Iterator

from lab.profile.base import Conflict
from lab.profile.devices import Device
from lab.profile.nvme import NvmeController

MAX_PORTS = 24
"""Controllers that fit beside the machine's own devices on QEMU's q35, which has 32 slots."""

OWN_SERIALS = ("root", "modules")
"""The disks from which every guest boots; its initramfs looks for them by serial."""


def between(devices: tuple[Device, ...]) -> Iterator[Conflict]:
    """Serials that are not unique, and controllers for which there is no slot."""
    first: dict[str, int] = {}
    ports = 0
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
        ports += device.controllers if isinstance(device, NvmeController) else 1
    if ports > MAX_PORTS:
        yield ("devices",), f"{ports} controllers do not fit; expected at most {MAX_PORTS}"
