# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a process number means what it says: one boot of one host, and one namespace of processes.

A state directory can be seen from several, as from containers that share a home, or over NFS.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MACHINE = Path("/etc/machine-id")
_NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class ProcessOrigin:
    """Where a process was seen."""

    host: str
    """Its name, for people."""
    machine: str
    """machine-id(5); '' where there is none, as in many containers."""
    boot: str
    """Boot id (random(4)); '' where there is none."""
    namespace: int
    """Inode of the pid namespace (namespaces(7))."""

    def seen_from(self, other: "ProcessOrigin") -> bool:
        """Whether process numbers of here are told by /proc there, or are known to be of the past:
        of an earlier boot of that host."""
        if self.boot == other.boot:
            return self.namespace == other.namespace
        # A host without a number of its own has its name.
        mine, its = self.machine or self.host, other.machine or other.host
        return bool(mine) and mine == its

    def before(self, other: "ProcessOrigin") -> bool:
        """Whether this is an earlier boot of that host, whose processes have all ended."""
        return self.boot != other.boot and self.seen_from(other)


@cache
def here() -> ProcessOrigin:
    """Where this process is."""
    machine = _read(_MACHINE)
    return ProcessOrigin(
        host=os.uname().nodename,
        # systemd's word for one that is yet to be made.
        machine="" if machine == "uninitialized" else machine,
        boot=_read(_BOOT),
        namespace=_NAMESPACE.stat().st_ino,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
