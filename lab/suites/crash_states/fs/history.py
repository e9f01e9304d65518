# SPDX-License-Identifier: GPL-2.0-or-later
"""What a workload makes of a tree, step by step, and the trees that a power cut may leave of it.

Names and contents are apart.  Operations on names (creat, mkdir, rename, link, …) are atomic: a
power cut keeps each or loses it, and what is left is the tree that those make which it kept.  A
file system with one log of all metadata (`ordered`) keeps the first of them, and loses the last;
one that logs what is fsynced by itself (btrfs, F2FS) may keep any set that makes sense.  They are
of entries, not of paths: what was created in a directory is in it, whichever name that has kept.

A file's content may be that of any version since it was last synced, or between these.

What had been synced must be kept (fsync(2), fdatasync(2), sync(2)): after sync everything; after
fsync of a file its content, size, xattrs and its names, after fdatasync its content, its size and
that it is there; after fsync of a directory its entries, and its own name.  That fsync of a file
keeps its names is no promise of POSIX, but one of all file systems here.  Of an ordered one, what
came before the last change of what was fsynced too.

F2FS puts what is fsynced in the place of whatever has its name (`replacing`): a file that had been
renamed away from there before is lost with a rename that is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

from lab.suites.crash_states.fs.tree import Inode, StepImpossible, Tree

Step = Mapping[str, Any]
"""An operation or a call that syncs, as guest-scripts/suites/crashfs takes it."""

Xattrs = tuple[tuple[str, str], ...]

SYNCS = frozenset({"fsync", "fdatasync", "sync"})
NAMING = frozenset({"creat", "mkdir", "rename", "link", "symlink", "unlink", "rmdir"})

MOST = 10
"""Operations on names that may lie between two calls of sync: of more there are too many trees."""

_MADE = 1000
"""What step number N makes has the inode number N more than this."""


@dataclass(frozen=True)
class CrashMoment:
    """How far a workload had come when power was lost: how many steps had begun, and how many had
    returned."""

    begun: int = 0
    done: int = 0


class FsHistory:
    """The steps of a workload on a tree, which it has when they begin, all of it durable."""

    def __init__(self, before: Tree, steps: Sequence[Step]) -> None:
        """Raises StepImpossible where the steps cannot follow one another."""
        self.steps = tuple(steps)
        self.trees = [before]
        for number, step in enumerate(steps):
            self.trees.append(self.trees[-1].after(step, _MADE + number))
        for least in range(len(steps)):
            if len(self._naming(least, self._next_sync(least))) > MOST:
                raise StepImpossible(f"more than {MOST} operations on names without a sync")
        self.possible = lru_cache(maxsize=None)(self._possible)
        self.versions = lru_cache(maxsize=None)(self._versions)
        self.xattrs = lru_cache(maxsize=None)(self._xattrs)

    @property
    def after(self) -> Tree:
        """The tree that all steps make."""
        return self.trees[-1]

    def told(self, moment: CrashMoment) -> str:
        """How people call a moment."""
        if not moment.begun:
            return "before the operation"
        synced = [step for step in self.steps[: moment.done] if step["do"] in SYNCS]
        if not synced:
            return "nothing was synced since the operation"
        last = f"after {synced[-1]['do']} {synced[-1].get('path', '')}".rstrip()
        open_ = self.steps[moment.done : moment.begun]
        return " ".join([last, *(f"in {step['do']}" for step in open_ if len(synced) > 1)])

    def _next_sync(self, least: int) -> int:
        ends = (at for at in range(least, len(self.steps)) if self.steps[at]["do"] == "sync")
        return next(ends, len(self.steps))

    def _naming(self, least: int, end: int) -> list[int]:
        """The steps from one to before another that change names."""
        return [
            at
            for at in range(least, end)
            if self.steps[at]["do"] not in SYNCS
            and (self.steps[at]["do"] in NAMING or self.trees[at].names != self.trees[at + 1].names)
        ]

    def _synced(self, moment: CrashMoment) -> int:
        """How many of the first steps are durable altogether, by a sync."""
        syncs = [at for at in range(moment.done) if self.steps[at]["do"] == "sync"]
        return syncs[-1] if syncs else 0

    def _possible(
        self, moment: CrashMoment, ordered: bool, replacing: bool, promised: bool
    ) -> list[Tree]:
        """The trees that may be there, as far as names go; without `promised`, whatever was synced
        may be lost too."""
        least = self._synced(moment) if promised else 0
        naming = self._naming(least, moment.begun)
        needed = set(self._needed(moment, least, ordered=ordered)) if promised else set()
        if ordered:
            first = naming.index(max(needed)) + 1 if needed else 0
            chosen = (tuple(naming[:count]) for count in range(first, len(naming) + 1))
        else:
            chosen = (
                kept
                for count in range(len(naming) + 1)
                for kept in combinations(naming, count)
                if needed <= set(kept)
            )
        found: list[Tree] = []
        for kept in chosen:
            tree = self._kept(least, kept, replacing=replacing)
            if tree and tree.names not in [other.names for other in found]:
                found.append(tree)
        return found

    def _kept(self, least: int, kept: Sequence[int], *, replacing: bool) -> Tree | None:
        """The names that these steps make of the tree after the first `least`; None where they do
        not without the others."""
        tree = self.trees[least]
        try:
            for at in kept:
                step = self._rooted(at, tree)
                place = str(step.get("to", step.get("path")))
                there = tree.inode(place)
                free = place not in self.trees[at].names
                if replacing and free and there and there.kind == "file":
                    tree = tree.after({"do": "unlink", "path": place})
                tree = tree.after(step, _MADE + at)
        except StepImpossible:
            return None
        return tree

    def _rooted(self, at: int, tree: Tree) -> Step:
        """A step in another tree, where its directories may have other names."""
        step = self.steps[at]
        then = self.trees[at]
        made = {
            name: self._moved(value, then, tree) if name in ("path", "to") else value
            for name, value in step.items()
        }
        if step["do"] == "symlink":
            made["path"] = step["path"]  # of a link it is no name
        if step["do"] not in NAMING:  # a copy to what is not there
            made = {"do": "creat", "path": made["path"]}
        return made

    @staticmethod
    def _moved(path: str, then: Tree, now: Tree) -> str:
        """Where an entry that was at a path is, whose directory may have another name."""
        parent, _, name = path.rpartition("/")
        if not parent:
            return path
        number = then.names[parent]
        for other, found in now.names.items():
            if found == number:
                return f"{other}/{name}"
        raise StepImpossible(f"{parent} is not there")

    def _needed(self, moment: CrashMoment, least: int, *, ordered: bool) -> Iterator[int]:
        """The steps on names that calls which have returned have made durable."""
        for call in range(least, moment.done):
            step = self.steps[call]
            if step["do"] not in ("fsync", "fdatasync"):
                continue
            number = self.trees[call].names.get(step["path"], 0)
            only_data = step["do"] == "fdatasync"
            touching = [
                at for at in range(least, call) if self._touches(at, number, only_data=only_data)
            ]
            naming = self._naming(least, call)
            if ordered and touching:
                yield from (at for at in naming if at <= touching[-1])
            elif not ordered:
                yield from (at for at in naming if at in touching)

    def _touches(self, at: int, number: int, *, only_data: bool) -> bool:
        """Whether a step changes an inode, its entry, or of a directory (0 is the topmost) the
        entries in it; the renaming of a directory above it is none of these.

        With `only_data` whether fdatasync has to bring it into the log: what was written in place
        changes times alone, for which neither ext4 (i_datasync_tid) nor XFS (ILOG_TIMESTAMP)
        commits anything, and so nothing that came before it."""
        old, new = self.trees[at], self.trees[at + 1]
        was, now = old.inodes.get(number), new.inodes.get(number)
        if only_data:
            return (was and len(was.data)) != (now and len(now.data))
        if was != now:
            return True
        before, after = old.entries(), new.entries()
        return any(
            number in (key[0], before.get(key), after.get(key))
            for key in {*before, *after}
            if before.get(key) != after.get(key)
        )

    def _versions(self, number: int, moment: CrashMoment, promised: bool) -> list[Inode]:
        """What an inode may hold, or be between; xattrs apart."""
        return self._since(self._floor(number, moment, SYNCS) if promised else 0, number, moment)

    def _xattrs(self, number: int, moment: CrashMoment, promised: bool) -> list[Xattrs]:
        """The xattrs that an inode may have; fdatasync does not promise them."""
        floor = self._floor(number, moment, SYNCS - {"fdatasync"}) if promised else 0
        return [each.xattrs for each in self._since(floor, number, moment)]

    def _since(self, floor: int, number: int, moment: CrashMoment) -> list[Inode]:
        trees = self.trees[floor : moment.begun + 1]
        found = [tree.inodes[number] for tree in trees if number in tree.inodes]
        if found and number not in trees[0].inodes:
            found.insert(0, Inode(found[0].kind, target=found[0].target))
        return found

    def _floor(self, number: int, moment: CrashMoment, calls: frozenset[str]) -> int:
        """How many steps had been carried out when one of these calls last synced an inode."""
        floor = 0
        for at in range(moment.done):
            step = self.steps[at]
            own = step["do"] == "sync" or self.trees[at].names.get(step.get("path", "")) == number
            if step["do"] in calls and own:
                floor = at
        return floor
