# SPDX-License-Identifier: GPL-2.0-or-later
"""The file systems: how each is made, mounted and checked, and what it does not promise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.suites.crash_states.fs.posix import Promise, Ruled

MIB = 1 << 20


@dataclass(frozen=True)
class Leniency:
    """A promise that a file system does not give: after `sync` of an operation of these kinds what
    breaks `rule` is none.  `source`: where that is written, or how it was found."""

    kinds: tuple[str, ...]
    sync: str
    rule: str
    source: str

    def excuses(self, step: Mapping[str, Any], promise: Promise, broken: Ruled) -> bool:
        """Whether what was found is of that kind."""
        synced = promise.synced["do"] if promise.synced else ""
        return (
            step["do"] in self.kinds and synced == self.sync and broken.rule == self.rule
        )  # fmt: skip


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
    lenient: tuple[Leniency, ...] = ()


KINDS = {
    kind.name: kind
    for kind in (
        FileSystemKind(
            "ext4", "ext4", 64 * MIB,
            ("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,nodiscard"),
            ("e2fsck", "-f", "-n"),
        ),
        FileSystemKind(
            "xfs", "xfs", 320 * MIB, ("mkfs.xfs", "-q", "-f", "-K"), ("xfs_repair", "-n"),
        ),
        FileSystemKind(
            "btrfs", "btrfs", 128 * MIB, ("mkfs.btrfs", "-q", "-f", "-K"),
            ("btrfs", "check", "--readonly"),
        ),
        FileSystemKind(
            "f2fs", "f2fs", 64 * MIB, ("mkfs.f2fs", "-q", "-f", "-t", "0"),
            ("fsck.f2fs", "-f", "--dry-run"),
        ),
    )
}  # fmt: skip
"""By the name that a person gives."""
