# SPDX-License-Identifier: GPL-2.0-or-later
"""What must, may and must not be there after a power cut, by what had been asked for and promised.

The tree before an operation, the one after it, and what was made durable since:

- before the operation began, all is as it was;
- while it is under way, or done and not synced, each name is as it was or as it will be, and a file
  holds at each byte what it held, what it will hold, or zero where it grew or was given new blocks;
  a file that is renamed is never without a name (rename(2): "there will be no point at which
  another process attempting to access newpath will find it missing", and it is atomic on file
  systems with a log);
- after sync, all is as it will be; after fsync of a file its content, size and xattrs, after
  fdatasync content and size (fsync(2), fdatasync(2)), and its new name, which is no promise of
  POSIX but one of the file systems here (see kinds.py); after fsync of a directory its names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.suites.crash_states.fs.tree import Inode, Sighting, Tree, told


@dataclass(frozen=True)
class Promise:
    """How far a workload had come when power was lost: whether its operation had begun, and the
    call that had synced it, if that had returned."""

    begun: bool = False
    synced: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        if not self.begun:
            return "before the operation"
        if self.synced is None:
            return "nothing was synced since the operation"
        return f"after {self.synced['do']} {self.synced.get('path', '')}".rstrip()


@dataclass(frozen=True)
class Ruled:
    """A rule that a state breaks, and how."""

    rule: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.evidence}"


def judge(
    there: Mapping[str, Sighting], before: Tree, after: Tree, step: Mapping[str, Any],
    promise: Promise,
) -> Iterator[Ruled]:  # fmt: skip
    """What is wrong with what was found: SYNCED, for what had been made durable and is not there,
    and WHOLE, for what was neither before nor after."""
    if not promise.begun:
        after = before
    synced = promise.synced or {}
    for path in sorted({*there, *before.names, *after.names}):
        found = there.get(path)
        old, new = before.inode(path), after.inode(path)
        if promise.begun and (said := _unsynced(path, found, before, after, synced)):
            yield Ruled("SYNCED", f"{promise}: {path}: {said}")
        elif said := _impossible(path, found, old, new, before, after):
            yield Ruled("WHOLE", f"{promise}: {path}: {said}")
    if promise.begun and step["do"] == "rename":
        yield from _renamed(there, step, promise)
    yield from _links(there, after)


def _unsynced(
    path: str, found: Sighting | None, before: Tree, after: Tree, synced: Mapping[str, Any]
) -> str:
    """What is wrong with a name that had been made durable; '' if nothing, or it had not been."""
    new = after.inode(path)
    call, target = synced.get("do"), synced.get("path", "")
    if call == "sync":
        return _otherwise(found, new)
    if call is None:
        return ""
    of = after.inode(target)
    if target and of and of.kind == "file":
        if after.names.get(path) != after.names[target]:
            return ""
        return _otherwise(found, new, xattrs=call == "fsync")
    if path == target:
        return "" if found else "missing"
    if path.rpartition("/")[0] != target:
        return ""
    # A directory's names are durable, and which file each is; not what is in the file.
    if found is None or new is None:
        return _otherwise(found, new)
    then = before.inodes.get(after.names[path], Inode(new.kind))
    return _between(found.inode, new, then)


def _otherwise(found: Sighting | None, wanted: Inode | None, *, xattrs: bool = True) -> str:
    if found is None:
        return "missing" if wanted else ""
    if wanted is None:
        return "there, and must not be"
    there = found.inode
    if not xattrs:
        there = Inode(there.kind, there.data, wanted.xattrs, there.target)
    return "" if there == wanted else told(there, wanted)


def _impossible(
    path: str, found: Sighting | None, old: Inode | None, new: Inode | None, before: Tree,
    after: Tree,
) -> str:  # fmt: skip
    """What is wrong with a name that may be as it was, or as it will be, or between; or ''."""
    if found is None:
        return "missing" if old and new else ""
    if old is None and new is None:
        return "there, and never was"
    said = ""
    for tree, other in ((before, after), (after, before)):
        number = tree.names.get(path)
        if number is None:
            continue
        now = tree.inodes[number]
        then = other.inodes.get(number, now if number in before.names.values() else Inode(now.kind))
        if not (said := _between(found.inode, now, then)):
            return ""
    return said


def _between(there: Inode, one: Inode, other: Inode) -> str:
    """Whether an inode is one of two, or on its way from one to the other; '' if so."""
    if there.kind != one.kind:
        return told(there, one)
    if there.xattrs not in (one.xattrs, other.xattrs):
        return told(Inode("file", xattrs=there.xattrs), Inode("file", xattrs=one.xattrs))
    if there.target != one.target:
        return told(there, one)
    low, high = sorted((len(one.data), len(other.data)))
    if not low <= len(there.data) <= high:
        return f"{len(there.data)} bytes, neither {low} nor {high} nor between"
    first, second = (each.data.ljust(high, b"\0") for each in (one, other))
    for at, byte in enumerate(there.data):
        if byte not in (first[at], second[at], 0):
            return f"byte {at}: {there.data[at : at + 4].hex()}, which was never there"
        if byte == 0 and first[at] == second[at] != 0:
            return f"byte {at}: zero, where nothing was to change"
    return ""


def _renamed(
    there: Mapping[str, Sighting], step: Mapping[str, Any], promise: Promise
) -> Iterator[Ruled]:
    if step["path"] not in there and step["to"] not in there:
        yield Ruled("WHOLE", f"{promise}: neither {step['path']} nor {step['to']} is there")


def _links(there: Mapping[str, Sighting], after: Tree) -> Iterator[Ruled]:
    """Names of one file are names of one file."""
    for path, number in after.names.items():
        for other, same in after.names.items():
            both = path < other and number == same and path in there and other in there
            if both and there[path].number != there[other].number:
                yield Ruled("WHOLE", f"{path} and {other} are not the same file")
