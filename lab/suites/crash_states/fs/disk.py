# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk of a guest that stays up, whose medium is exchanged below it.

The guest sees the same disk all the time, and must have nothing of it in memory when it is
exchanged: no mount, no page cache.  That is quicker than to plug disks in and out, which the guest
would have to scan for.
"""

from dataclasses import dataclass
from pathlib import Path

from lab.vm.graph import Drive
from lab.vm.machine import Machine


@dataclass(frozen=True)
class MediumPart:
    """The bytes of a file that a disk has: `size` of them from `start` on."""

    file: Path
    start: int
    size: int


class StateDisk:
    """The medium of a drive of the profile, exchanged while nothing uses it."""

    def __init__(self, machine: Machine, drive: Drive) -> None:
        self._machine = machine
        self._drive = drive
        self._number = 0
        self._nodes: list[str] = []

    def put(self, medium: MediumPart, log: Path | None = None) -> None:
        """Let the disk be this, with all writes logged to `log` if that is given.

        Raises HostError.
        """
        self._number += 1
        name = f"{self._drive.id}-s{self._number}"
        # Other disks have other parts of the same file.
        file = {**_file(f"{name}-file", medium.file), "locking": "off"}
        part: dict[str, object] = {
            "driver": "raw",
            "node-name": f"{name}-medium",
            "file": f"{name}-file",
            "offset": medium.start,
            "size": medium.size,
        }
        nodes = [file, part]
        if log:
            log.write_bytes(b"")
            nodes.append(_file(f"{name}-writes", log))
            # As lab/vm/graph.py has it.
            nodes.append(
                {
                    "driver": "blklogwrites",
                    "node-name": f"{name}-log",
                    "file": f"{name}-medium",
                    "log": f"{name}-writes",
                    "log-sector-size": self._drive.log_sector,
                    "log-super-update-interval": 1,
                }
            )
        for node in nodes:
            self._machine.execute("blockdev-add", node)
        path = f"/machine/peripheral/{self._drive.id}"
        top = {"path": path, "property": "drive", "value": nodes[-1]["node-name"]}
        self._machine.execute("qom-set", top)
        for old in self._nodes:
            self._machine.execute("blockdev-del", {"node-name": old})
        # What stands on others goes before them.
        order = ("-log", "-writes", "-medium", "-file")
        names = [str(node["node-name"]) for node in nodes]
        self._nodes = [each for end in order for each in names if each.endswith(end)]


def _file(name: str, path: Path) -> dict[str, object]:
    return {
        "driver": "file",
        "node-name": name,
        "filename": str(path),
        "cache": {"no-flush": True},
    }
