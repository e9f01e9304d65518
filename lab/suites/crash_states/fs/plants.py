# SPDX-License-Identifier: GPL-2.0-or-later
"""Defects below a file system, and of one, planted on purpose."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lab.suites.crash_states.fs.history import Step
from lab.suites.crash_states.fs.tree import Tree
from lab.suites.crash_states.plants import (
    drop_flush,
    drop_fua,
    early_write,
    late_write,
    lost_write,
    one_flush,
    torn_write,
)
from lab.suites.crash_states.recording import Logged


@dataclass(frozen=True)
class PlantedStep:
    """What becomes of a step: what is done of it at once, and what when all others are done."""

    now: tuple[Step, ...] = ()
    late: tuple[Step, ...] = ()


Asked = Callable[[Step, Tree], PlantedStep]
"""From a step, and the tree before it."""


@dataclass(frozen=True)
class FsPlant:
    """A defect: what it does, to the log, to the mount, or to what is asked for.

    `uncached`: the kernel is told that the disks have no cache that a power cut loses.
    """

    does: str = ""
    log: Callable[[Sequence[Logged]], Iterable[Logged]] | None = None
    options: str = ""
    uncached: bool = False
    asked: Asked = field(default=lambda step, _: PlantedStep((step,)))


GOOD = FsPlant()
"""None."""


def _forgetting(*kinds: str) -> Asked:
    """Steps of these kinds are answered, and nothing is done."""
    return lambda step, _: PlantedStep(() if step["do"] in kinds else (step,))


def _no_directory_fsync(step: Step, tree: Tree) -> PlantedStep:
    path = step.get("path", "")
    there = tree.inode(path)
    on_directory = not path or (there and there.kind == "directory")
    return PlantedStep(() if step["do"] == "fsync" and on_directory else (step,))


def _half_rename(step: Step, tree: Tree) -> PlantedStep:
    """A file gets its new name, and the old one goes from its directory behind all that is
    synced."""
    there = tree.inode(step.get("path", ""))
    if step["do"] != "rename" or step["to"] in tree.names or not there or there.kind != "file":
        return PlantedStep((step,))
    gone = {"do": "unlink", "path": step["path"]}
    return PlantedStep(({**step, "do": "link"},), (gone,))


def _clone_size(step: Step, tree: Tree) -> PlantedStep:
    """A clone shares blocks, and the file's size grows behind all that is synced."""
    if step["do"] != "clone":
        return PlantedStep((step,))
    there = tree.inode(step["path"])
    size = len(there.data) if there else 0
    return PlantedStep((step, {"do": "truncate", "path": step["path"], "length": size}), (step,))


def _copy_end(step: Step, _: Tree) -> PlantedStep:
    """A copy is answered before its last half is there, which comes behind all that is synced."""
    if step["do"] != "copy":
        return PlantedStep((step,))
    half = step["length"] // 2
    rest = {**step, "start": step["start"] + half, "at": step["at"] + half, "length": half}
    return PlantedStep(({**step, "length": step["length"] - half},), (rest,))


FS_PLANTS = {
    "drop-flush": FsPlant("flushes do nothing", drop_flush),
    "drop-fua": FsPlant("FUA does nothing", drop_fua),
    "one-flush": FsPlant("of two disks only the first is flushed", one_flush),
    "late-write": FsPlant("the last write before a flush is carried out behind it", late_write),
    "early-write": FsPlant("the first write behind a flush is carried out before it", early_write),
    "lost-write": FsPlant("the last write before a flush is lost", lost_write),
    "torn-write": FsPlant("of the longest write before a flush only half is there", torn_write),
    "write-through": FsPlant("the kernel takes the disk's cache for none", uncached=True),
    "nobarrier": FsPlant("mounted with nobarrier: no flush is sent", options="nobarrier"),
    "no-fsync": FsPlant(
        "fsync and fdatasync do nothing", asked=_forgetting("fsync", "fdatasync")
    ),
    "no-directory-fsync": FsPlant("fsync of a directory does nothing", asked=_no_directory_fsync),
    "no-sync": FsPlant("sync does nothing", asked=_forgetting("sync")),
    "half-rename": FsPlant("fsync after a rename keeps the old name too", asked=_half_rename),
    "clone-size": FsPlant("fsync after a clone keeps no larger size", asked=_clone_size),
    "copy-end": FsPlant("a copy succeeds before its last half is written", asked=_copy_end),
}  # fmt: skip
"""Every kind by its name."""
