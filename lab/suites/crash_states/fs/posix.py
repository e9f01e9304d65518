# SPDX-License-Identifier: GPL-2.0-or-later
"""What must, may and must not be there after a power cut, by what had been asked for and promised.

What was found must be one of the trees that may be left (history.py), its names altogether; and in
each file each byte one that it held in a version since it was last synced, zero where that was
shorter than another.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lab.suites.crash_states.fs.history import CrashMoment, FsHistory
from lab.suites.crash_states.fs.tree import Inode, Sighting, Tree, told


@dataclass(frozen=True)
class Ruled:
    """A rule that a state breaks, and how."""

    rule: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.evidence}"


def judge(
    there: Mapping[str, Sighting], history: FsHistory, moment: CrashMoment, *,
    ordered: bool = False, replacing: bool = False,
) -> Iterator[Ruled]:  # fmt: skip
    """What is wrong with what was found: SYNCED, for what had been made durable and is not there,
    and WHOLE, for what there never was.  `ordered` and `replacing`: see history.py.
    """
    wrong = _wrong(there, history, moment, (ordered, replacing), promised=True)
    if not wrong:
        return
    lost = not _wrong(there, history, moment, (ordered, replacing), promised=False)
    for said in wrong:
        yield Ruled("SYNCED" if lost else "WHOLE", f"{history.told(moment)}: {said}")


def _wrong(
    there: Mapping[str, Sighting], history: FsHistory, moment: CrashMoment,
    keeping: tuple[bool, bool], *, promised: bool,
) -> list[str]:  # fmt: skip
    """How what was found differs from the tree that it is most alike to; [] where from none."""
    contents: dict[tuple[str, int], str] = {}
    best: list[str] | None = None
    for tree in history.possible(moment, *keeping, promised):
        found = []
        for path in sorted({*there, *tree.names}):
            number, one = tree.names.get(path), there.get(path)
            if number is None:
                never = not any(path in each.names for each in history.trees)
                found.append(f"{path}: there, and {'never was' if never else 'must not be'}")
            elif one is None:
                found.append(f"{path}: missing{_elsewhere(path, number, there, history)}")
            else:
                if (path, number) not in contents:
                    contents[path, number] = _content(one, history, number, moment, promised)
                if said := contents[path, number]:
                    found.append(f"{path}: {said}")
        found += _links(there, tree)
        if not found:
            return []
        if best is None or len(found) <= len(best):
            best = found
    return best or []


def _elsewhere(
    path: str, number: int, there: Mapping[str, Sighting], history: FsHistory
) -> str:  # fmt: skip
    """Which other names what is missing might have had, and are not there either."""
    names = {
        name for tree in history.trees for name, found in tree.names.items() if found == number
    }  # fmt: skip
    gone = sorted(names - {path} - set(there))
    return f", and so is {', '.join(gone)}" if gone else ""


def _content(
    found: Sighting, history: FsHistory, number: int, moment: CrashMoment, promised: bool
) -> str:
    """What is wrong with what a name stands for, if that is to be an inode; '' if nothing."""
    versions = history.versions(number, moment, promised)
    xattrs = history.xattrs(number, moment, promised)
    there = found.inode
    if there.xattrs not in xattrs:
        return told(Inode("file", xattrs=there.xattrs), Inode("file", xattrs=xattrs[-1]))
    return _between(there, versions) or found.unread


def _between(there: Inode, versions: list[Inode]) -> str:
    """Whether an inode is one of several versions, or on its way between these; '' if so."""
    last = versions[-1]
    if there.kind != last.kind or there.target != last.target:
        return told(there, last)
    if there.data in [each.data for each in versions]:
        return ""
    sizes = sorted({len(each.data) for each in versions})
    if not sizes[0] <= len(there.data) <= sizes[-1]:
        only = len(sizes) == 1
        wanted = f"not {sizes[0]}" if only else f"not within {sizes[0]} and {sizes[-1]}"
        return f"{len(there.data)} bytes, {wanted}"
    if len({each.data for each in versions}) == 1:
        return told(there, last)
    padded = [each.data.ljust(sizes[-1], b"\0") for each in versions]
    for at, (byte, *held) in enumerate(zip(there.data, *padded, strict=False)):
        if byte not in held:
            return f"byte {at}: {there.data[at : at + 4].hex()}, which was never there"
    return ""


def _links(there: Mapping[str, Sighting], tree: Tree) -> Iterator[str]:
    """Names of one file are names of one file."""
    seen: dict[int, str] = {}
    for path, number in tree.names.items():
        if path not in there:
            continue
        first = seen.setdefault(number, path)
        if there[first].number != there[path].number:
            yield f"{first} and {path} are not the same file"
