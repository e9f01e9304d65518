# SPDX-License-Identifier: GPL-2.0-or-later
"""Read-only file systems for guests, made and looked into on the host."""

from pathlib import Path

from lab.host.command import run

_PACK_DEADLINE = 300.0


def pack(directory: Path, target: Path, *, leave_out: str) -> None:
    """Make an erofs of a directory.  Everything belongs to root in it, nothing has extended
    attributes; `leave_out` is a regular expression on paths within it.  Raises HostError."""
    run(
        [
            "mkfs.erofs", "-zlz4", "-x-1", "--all-root", "--preserve-mtime", "--quiet",
            f"--exclude-regex={leave_out}", target, directory,
        ],
        deadline=_PACK_DEADLINE,
    )  # fmt: skip


def names(image: Path, directory: str) -> frozenset[str]:
    """The names in a directory of an erofs, which must exist.  Raises HostError."""
    said = run(["dump.erofs", "--ls", f"--path={directory}", image], deadline=60)
    # Behind the header, a line for each: node, type, name.
    _, _, listing = said.partition("FILENAME")
    return frozenset(line.split(maxsplit=2)[2] for line in listing.splitlines() if line.strip())
