# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated disks of a profile, as the guest and as QEMU have them."""

from dataclasses import dataclass

from lab.profile.disk import disks
from lab.profile.models import Profile
from lab.vm.graph import Drive, drives


@dataclass(frozen=True)
class EmulatedDisk:
    """A disk of the profile: its device node in the guest, and what QEMU has of it."""

    node: str
    drive: Drive


def find_disks(profile: Profile) -> dict[str, EmulatedDisk]:
    """The emulated disks of a profile, by each name that it has there."""
    by_name = {(drive.serial, drive.nsid): drive for drive in drives(profile)}
    found: dict[str, EmulatedDisk] = {}
    for disk in disks(profile):
        if drive := by_name.get((disk.serial, disk.nsid or 0)):
            made = EmulatedDisk(f"/dev/lab/{disk.ref}", drive)
            found |= {disk.ref: made, disk.alias: made}
    return found
