# SPDX-License-Identifier: GPL-2.0-or-later
"""Is an NVMe controller of the host the one that was meant, free, and handed to vfio-pci?

Its serial can only be read while the host's nvme driver has it, and QEMU can only have it once
vfio-pci does.  So the lab looks twice: the first look, under nvme, checks serial and use, and is
remembered until the host boots again; the second, under vfio-pci, wants to find that memory.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from lab.errors import HostError
from lab.host import dirs
from lab.profile.hostdev import HostNvme
from lab.vm.given.disk import HOST, read, uses

_NVME_CLASS = "0x0108"
"""Class 01h mass storage, subclass 08h non-volatile memory (PCI Code and ID Assignment)."""


def check_nvme(device: HostNvme, root: Path = HOST) -> None:
    """Raise HostError, with every reason, unless the controller may be given to the guest."""
    pci = root / "sys/bus/pci/devices" / device.address
    if not read(pci / "class").startswith(_NVME_CLASS):
        raise HostError(
            f"{device.address}: no NVMe controller at this PCI address", hint="look with: lspci -D"
        )
    driver = (pci / "driver").resolve().name if (pci / "driver").exists() else ""
    if driver == "nvme":
        _check_under_nvme(device, pci, root)
    elif driver == "vfio-pci":
        _check_under_vfio(device, pci, root)
    else:
        raise HostError(
            f"{device.address}: bound to {driver or 'no driver'}, so its serial is not known",
            hint=f"give it to nvme first: driverctl unset-override {device.address}",
        )


def _check_under_nvme(device: HostNvme, pci: Path, root: Path) -> None:
    reasons = [*_refusals(device, pci, root)]
    if reasons:
        raise HostError(
            f"{device.address} is not given to the guest, which would destroy what is on it",
            detail="\n".join(reasons),
        )
    known = _remembered(root)
    known[device.address] = device.serial
    _memory().write_text(json.dumps({"boot": _boot(root), "serials": known}))
    raise HostError(
        f"{device.address} is {device.serial} and free, but still the host's: bind it to vfio-pci",
        hint=f"driverctl --nosave set-override {device.address} vfio-pci; or, as root: "
        f"modprobe vfio-pci; echo vfio-pci >{pci}/driver_override; "
        f"echo {device.address} >{pci}/driver/unbind; "
        f"echo {device.address} >/sys/bus/pci/drivers_probe",
    )


def _refusals(device: HostNvme, pci: Path, root: Path) -> Iterator[str]:
    controllers = sorted((pci / "nvme").glob("nvme*"))
    if not controllers:
        yield "the host's driver has not made a controller of it"
    for controller in controllers:
        serial = read(controller / "serial")
        if serial != device.serial:
            yield f"the profile says serial {device.serial}, the host says {serial or 'none'}"
        for disk in sorted((root / "sys/class/block").glob("nvme*")):
            above = disk / "device"
            # With multipath a namespace hangs on the subsystem, which has links to controllers.
            if above.resolve().name == controller.name or (above / controller.name).exists():
                yield from uses(disk.resolve(), root)


def _check_under_vfio(device: HostNvme, pci: Path, root: Path) -> None:
    known = _remembered(root).get(device.address)
    if known != device.serial:
        why = f"it was {known} when the lab saw it" if known else "the lab has not seen it before"
        raise HostError(
            f"{device.address}: bound to vfio-pci, which hides its serial, and {why}",
            hint=f"let the lab look: driverctl unset-override {device.address}, then try again",
        )
    if not (pci / "iommu_group").exists():
        raise HostError(
            f"{device.address}: not in an IOMMU group",
            hint="enable VT-d or AMD-Vi in the firmware, and boot with intel_iommu=on",
        )


def _memory() -> Path:
    return dirs.state() / "host-nvme.json"


def _boot(root: Path) -> str:
    return read(root / "proc/sys/kernel/random/boot_id")


def _remembered(root: Path) -> dict[str, str]:
    """Serials by PCI address, as seen since the host booted: a boot may move the addresses."""
    try:
        kept = json.loads(_memory().read_text())
        return dict(kept["serials"]) if kept["boot"] == _boot(root) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
