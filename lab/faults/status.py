# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of faults by hand: how things are, and what a person calls a disk."""

from dataclasses import asdict, dataclass
from typing import Any

from lab.errors import UsageError
from lab.profile.models import Profile
from lab.vm.graph import Drive, drives


@dataclass(frozen=True)
class FaultStatus:
    """How things are.  `state`: `nothing`, `armed` (a breakpoint waits) or `held`."""

    state: str
    disk: str | None = None
    point: str | None = None
    """None for what a killed run has left behind."""
    seconds: float = 0.0
    """Since it was armed or held."""
    passed: int = 0
    """Of the reads or writes before an armed point, those that came."""
    error: str | None = None
    """What the held request will get."""
    io_timeout: float | None = None
    """Seconds after which the guest's driver gives up on a held command; None where it does not."""

    retried: str | None = None
    """Why the guest's driver may try it again, and nobody learns of the error; None where an error
    is let through."""

    def document(self) -> dict[str, Any]:
        """The status as JSON."""
        return asdict(self) | {"seconds": round(self.seconds, 1)}


def disk_name(drive: Drive) -> str:
    """What a person calls the disk: SERIAL:NSID, or SERIAL where there are no namespaces."""
    return f"{drive.serial}:{drive.nsid}" if drive.nsid else drive.serial


def find_drive(profile: Profile, name: str | None) -> Drive:
    """The disk called SERIAL or SERIAL:NSID; the profile's first without a name.

    Raises UsageError when there is none of that name, or of any.
    """
    found = drives(profile)
    for drive in found:
        if name is None or name in (drive.serial, disk_name(drive)):
            return drive
    there = ", ".join(disk_name(drive) for drive in found) or "none"
    raise UsageError(f"no emulated disk {name or ''}".rstrip(), hint=f"disks: {there}")
