# SPDX-License-Identifier: GPL-2.0-or-later
"""The file systems: how each is made, mounted and checked, and what it promises."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class FileSystemKind:
    """A file system in one mode; `check` ends with 0 where it finds nothing to complain about.

    The check is of a file system that was mounted, which replayed its log, and unmounted again.
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


KINDS = {
    kind.name: kind
    for kind in (
        FileSystemKind(
            "ext4", "ext4", 64 * MIB,
            ("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,nodiscard"),
            ("e2fsck", "-f", "-n"),
            ordered="one jbd2 transaction after the other (Documentation/filesystems/ext4/"
            "journal.rst), without fast_commit, which mkfs does not turn on",
        ),
        FileSystemKind(
            "xfs", "xfs", 320 * MIB, ("mkfs.xfs", "-q", "-f", "-K"), ("xfs_repair", "-n"),
            ordered="one log, forced up to the last change of what is fsynced "
            "(Documentation/filesystems/xfs/xfs-delayed-logging-design.rst)",
        ),
        FileSystemKind(
            "btrfs", "btrfs", 128 * MIB, ("mkfs.btrfs", "-q", "-f", "-K"),
            ("btrfs", "check", "--readonly"),
        ),
        FileSystemKind(
            "f2fs", "f2fs", 64 * MIB, ("mkfs.f2fs", "-q", "-f", "-t", "0"),
            ("fsck.f2fs", "-f", "--dry-run"),
            replacing="fsync_mode=posix, the default, does not recover directory operations "
            "(Documentation/filesystems/f2fs.rst; fstests generic/342)",
        ),
    )
}  # fmt: skip
"""By the name that a person gives."""
