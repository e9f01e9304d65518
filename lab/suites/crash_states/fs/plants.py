# SPDX-License-Identifier: GPL-2.0-or-later
"""Defects below a file system, and of one, planted on purpose."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lab.suites.crash_states.plants import drop_flush, late_write, lost_write
from lab.suites.crash_states.recording import Logged


@dataclass(frozen=True)
class FsPlant:
    """A defect: what it does, to the log, to how the file system is mounted, or to what is asked.

    `forgets`: calls that are answered, and not carried out.
    """

    does: str = ""
    log: Callable[[Sequence[Logged]], Iterable[Logged]] | None = None
    options: str = ""
    forgets: tuple[str, ...] = ()


GOOD = FsPlant()
"""None."""

FS_PLANTS = {
    "drop-flush": FsPlant("flushes do nothing", drop_flush),
    "late-write": FsPlant("the last write before a flush is carried out behind it", late_write),
    "lost-write": FsPlant("the last write before a flush is lost", lost_write),
    "nobarrier": FsPlant("mounted with nobarrier: no flush is sent", options="nobarrier"),
    "no-fsync": FsPlant("fsync and fdatasync do nothing", forgets=("fsync", "fdatasync")),
    "no-sync": FsPlant("sync does nothing", forgets=("sync",)),
}
"""Every kind by its name."""
