# SPDX-License-Identifier: GPL-2.0-or-later
"""The file systems: how each is made, mounted and checked, and what it promises."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

MIB = 1 << 20

_ARRAY = "/dev/md127"
_SECTOR = 512
"""Bytes; the device mapper's unit."""


@dataclass(frozen=True)
class FileSystemKind:
    """A file system in one mode, on one disk or over several; `size` is the bytes of each disk.

    `check` ends with 0 where it finds nothing to complain about.  It is of a file system that was
    mounted, which replayed its log, and unmounted again.
    """

    name: str
    type: str
    size: int
    make: tuple[str, ...]
    check: tuple[str, ...]
    options: str = ""
    ordered: str = ""
    """Why metadata are kept in the order in which they came about; empty where that is not so."""
    replacing: str = ""
    """Why a file of a name that is fsynced takes the place of one that was renamed away."""
    disks: int = 1
    array: tuple[str, ...] = ()
    """How an array of the disks is made, which the file system is on; it is on the disks itself
    without."""
    choosing: str = ""
    """Why what is read twice may come from another disk the second time, where it may."""

    @property
    def region(self) -> int:
        """Bytes of the medium that each of several disks has; 0 of a single one."""
        return self.size if self.disks > 1 else 0

    def made(self, nodes: Sequence[str], reorder: str = "") -> list[list[str]]:
        """The commands that make it on disks, the first of which assembles them; `reorder` is what
        dm-reorder on its only disk is called, if it is there."""
        if self.array:
            return [[*self.array, *nodes], [*self.make, _ARRAY]]
        if reorder:
            place = self.place(nodes, reorder)
            return [place["assemble"], [*self.make, place["node"]]]
        return [[*self.make, *nodes]]

    def place(self, nodes: Sequence[str], reorder: str = "") -> dict[str, Any]:
        """Where it is, as guest-scripts/suites/crashfs takes it: the node that is mounted, the
        disks below, and what puts them together and takes them apart."""
        if reorder:
            # Nobody would answer for udev, which is at rest while media are exchanged.
            dmsetup = ["dmsetup", "--noudevsync", "--noudevrules"]
            table = f"0 {self.size // _SECTOR} reorder {nodes[0]}"
            return {
                "node": f"/dev/mapper/{reorder}",
                "disks": list(nodes),
                "assemble": [*dmsetup, "create", reorder, "--table", table],
                "release": [*dmsetup, "remove", reorder],
            }
        if self.array:
            return {
                "node": _ARRAY,
                "disks": list(nodes),
                "assemble": ["mdadm", "--assemble", "--run", _ARRAY, *nodes],
                "release": ["mdadm", "--stop", _ARRAY],
            }
        several = len(nodes) > 1
        return {
            "node": nodes[0],
            "disks": list(nodes),
            "assemble": ["btrfs", "device", "scan", *nodes] if several else [],
            "release": ["btrfs", "device", "scan", "--forget"] if several else [],
        }


def _md(level: str, *more: str) -> tuple[str, ...]:
    return (
        "mdadm", "--create", _ARRAY, "--run", "--metadata=1.2", "--homehost=lab", "--name=lab",
        f"--level={level}", "--raid-devices=2", "--force", *more,
    )  # fmt: skip


_EXT4 = FileSystemKind(
    "ext4", "ext4", 64 * MIB,
    ("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,nodiscard"),
    ("e2fsck", "-f", "-n"),
    ordered="one jbd2 transaction after the other (Documentation/filesystems/ext4/"
    "journal.rst), without fast_commit, which mkfs does not turn on",
)  # fmt: skip
_XFS = FileSystemKind(
    "xfs", "xfs", 320 * MIB, ("mkfs.xfs", "-q", "-f", "-K"), ("xfs_repair", "-n"),
    ordered="one log, forced up to the last change of what is fsynced "
    "(Documentation/filesystems/xfs/xfs-delayed-logging-design.rst)",
)  # fmt: skip
_BTRFS = FileSystemKind(
    "btrfs", "btrfs", 128 * MIB, ("mkfs.btrfs", "-q", "-f", "-K"), ("btrfs", "check", "--readonly"),
)  # fmt: skip
_F2FS = FileSystemKind(
    "f2fs", "f2fs", 64 * MIB, ("mkfs.f2fs", "-q", "-f", "-t", "0"),
    ("fsck.f2fs", "-f", "--dry-run"),
    replacing="fsync_mode=posix, the default, does not recover directory operations "
    "(Documentation/filesystems/f2fs.rst; fstests generic/342)",
)  # fmt: skip
_MIRROR = _md("raid1", "--assume-clean", "--bitmap=internal")

KINDS = {
    kind.name: kind
    for kind in (
        _EXT4, _XFS, _BTRFS, _F2FS,
        replace(
            _BTRFS, name="btrfs-raid1", disks=2, make=(*_BTRFS.make, "-d", "raid1", "-m", "raid1"),
            choosing="by the number of the process that reads (Linux fs/btrfs/volumes.c, "
            "find_live_mirror)",
        ),
        replace(
            _BTRFS, name="btrfs-raid0", disks=2, make=(*_BTRFS.make, "-d", "raid0", "-m", "raid0"),
        ),
        replace(_EXT4, name="ext4-md-raid1", disks=2, array=_MIRROR),
        replace(_EXT4, name="ext4-md-raid0", disks=2, array=_md("raid0", "--chunk=4")),
        replace(_XFS, name="xfs-md-raid1", disks=2, array=_MIRROR),
    )
}  # fmt: skip
"""By the name that a person gives."""

SINGLE = tuple(name for name, kind in KINDS.items() if kind.disks == 1)
"""Those that take one disk."""
