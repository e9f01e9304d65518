# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks, found by their serial numbers: the kernel's names say only in which order they came."""

import os

import system


def disk(kind, serial, nsid, deadline=system.PATIENCE):
    """The device node of a disk, by serial (and namespace id); never by its position.

    Raises Failure when it does not appear.
    """
    which = f"{kind} disk {serial}" + (f" namespace {nsid}" if nsid else "")
    return system.wait_for(lambda: find_disk(kind, serial, nsid), which, deadline)


def find_disk(kind, serial, nsid):
    """The device node of a disk, by serial (and namespace id); None if it is not there, or not
    whole: the kernel makes the node, and only then `queue` (block/genhd.c, device_add_disk)."""
    for name in sorted(os.listdir(system.BLOCK)):
        whole = os.path.exists(f"/dev/{name}") and os.path.exists(f"{system.BLOCK}/{name}/queue")
        if whole and _identity(kind, name) == (serial, nsid):
            return f"/dev/{name}"
    return None


def _identity(kind, name):
    """Serial and namespace id of a whole disk of that kind; None if it is another."""
    path = f"{system.BLOCK}/{name}"
    try:
        if kind == "nvme" and name.startswith("nvme"):
            return system.read(f"{path}/device/serial"), int(system.read(f"{path}/nsid"))
        if kind == "virtio-blk" and name.startswith("vd"):
            return system.read(f"{path}/serial"), None
        if kind == "scsi" and name.startswith("sd"):
            return _scsi_serial(name), None
    except (OSError, ValueError):  # a partition, or gone meanwhile
        pass
    return None


def _scsi_serial(name):
    """The unit serial number of a SCSI disk (SPC: VPD page 80h, whose text starts at byte 4)."""
    with open(f"{system.BLOCK}/{name}/device/vpd_pg80", "rb") as file:
        return file.read()[4:].decode(errors="replace").strip("\0 ")
