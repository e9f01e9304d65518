# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system as POSIX has it: names, what they stand for, and what operations make of them."""

import base64
import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["file", "directory", "link", "FIFO", "socket", "device"]
"""What workloads make, and what commands may."""


@dataclass(frozen=True)
class Inode:
    """What a name stands for; of a file its bytes, of a file and a directory the xattrs of
    users, of a link the target."""

    kind: Kind
    data: bytes = b""
    xattrs: tuple[tuple[str, str], ...] = ()
    target: str = ""


@dataclass(frozen=True)
class Tree:
    """Names below a mount point, the number of the inode that each stands for, and the inodes."""

    names: Mapping[str, int] = field(default_factory=dict)
    inodes: Mapping[int, Inode] = field(default_factory=dict)

    def inode(self, path: str) -> Inode | None:
        """What a name stands for; None where there is none."""
        number = self.names.get(path)
        return None if number is None else self.inodes[number]

    def entries(self) -> dict[tuple[int, str], int]:
        """The inode of each entry, by its directory's inode (0 is the topmost) and its name."""
        found = {}
        for path, number in self.names.items():
            parent, _, name = path.rpartition("/")
            found[self.names[parent] if parent else 0, name] = number
        return found

    def after(self, step: Mapping[str, Any], number: int | None = None) -> "Tree":
        """The tree after an operation; one that syncs changes nothing.  `number` is that of the
        inode that it makes, if it makes one.

        Raises StepImpossible where it cannot be carried out on this tree.
        """
        made = _Change(dict(self.names), dict(self.inodes), number)
        given = {name: value for name, value in step.items() if name != "do"}
        try:
            getattr(made, f"do_{step['do'].replace('-', '_')}")(**given)
        except KeyError as error:
            raise StepImpossible(f"{dict(step)}: there is no {error.args[0]}") from error
        return Tree(made.names, made.inodes)


class StepImpossible(Exception):
    """An operation that a tree does not allow: what it names is not there, or is."""


@dataclass
class _Change:
    """A tree while an operation is carried out; a method for each."""

    names: dict[str, int]
    inodes: dict[int, Inode]
    number: int | None

    def _free(self, path: str) -> None:
        """Raise unless a name can be made there."""
        parent = path.rpartition("/")[0]
        if parent:
            self._of_kind(parent, "directory")
        if not path or path in self.names:
            raise StepImpossible(f"{path or '.'} is there")

    def _add(self, path: str, inode: Inode) -> None:
        self._free(path)
        number = self.number or max(self.inodes, default=0) + 1
        self.names[path] = number
        self.inodes[number] = inode

    def _of_kind(self, path: str, *kinds: Kind) -> Inode:
        """What a name stands for.  Raises unless it is one of these."""
        found = self.inodes[self.names[path]]
        if found.kind not in kinds:
            raise StepImpossible(f"{path} is a {found.kind}, not a {' or a '.join(kinds)}")
        return found

    def _set(self, path: str, **fields: Any) -> None:
        number = self.names[path]
        self.inodes[number] = replace(self.inodes[number], **fields)

    def _put(self, path: str, at: int, data: bytes) -> None:
        old = self._of_kind(path, "file").data.ljust(at, b"\0")
        self._set(path, data=old[:at] + data + old[at + len(data) :])

    def do_creat(self, path: str) -> None:
        self._add(path, Inode("file"))

    def do_mkdir(self, path: str) -> None:
        self._add(path, Inode("directory"))

    def do_write(self, path: str, at: int, length: int, fill: str) -> None:
        self._put(path, at, filled(fill, length))

    do_direct = do_write

    def do_mapped(self, path: str, at: int, length: int, fill: str) -> None:
        size = len(self._of_kind(path, "file").data)
        if at + length > size:
            raise StepImpossible(f"mapped until {at + length}: {path} ends at {size}")
        self.do_write(path, at, length, fill)

    def do_falloc(self, path: str, mode: str, at: int, length: int) -> None:
        data = self._of_kind(path, "file").data
        end = at + length
        if mode in ("extend", "zero"):
            data = data.ljust(end, b"\0")
        if mode in ("zero", "punch", "zero-keep-size"):
            gone = min(end, len(data)) - min(at, len(data))
            data = data[:at] + bytes(gone) + data[end:]
        if mode == "collapse":
            data = data[:at] + data[end:]
        self._set(path, data=data)

    def do_truncate(self, path: str, length: int) -> None:
        data = self._of_kind(path, "file").data
        self._set(path, data=data[:length].ljust(length, b"\0"))

    def do_rename(self, path: str, to: str) -> None:
        if self.names[path] == self.names.get(to):
            return  # rename(2): two names of one file both stay
        if to in self.names:
            kinds = {self.inodes[self.names[one]].kind == "directory" for one in (path, to)}
            if len(kinds) > 1:
                raise StepImpossible(f"{path} and {to}: a directory and none")
            self._remove(to)
        self._free(to)
        if to.startswith(f"{path}/"):
            raise StepImpossible(f"{to} is below {path}")
        moved = [name for name in self.names if name == path or name.startswith(f"{path}/")]
        for name in moved:
            self.names[to + name[len(path) :]] = self.names.pop(name)

    def do_link(self, path: str, to: str) -> None:
        self._free(to)
        self._of_kind(path, "file", "link")
        self.names[to] = self.names[path]

    def do_symlink(self, path: str, to: str) -> None:
        if not path:
            raise StepImpossible(f"{to}: a link to nothing")  # symlink(2)
        self._add(to, Inode("link", target=path))

    def _remove(self, path: str) -> None:
        if any(name.startswith(f"{path}/") for name in self.names):
            raise StepImpossible(f"{path} is not empty")
        del self.names[path]

    def do_unlink(self, path: str) -> None:
        self._of_kind(path, "file", "link")
        self._remove(path)

    def do_rmdir(self, path: str) -> None:
        self._of_kind(path, "directory")
        self._remove(path)

    def do_setxattr(self, path: str, name: str, value: str) -> None:
        # xattr(7): links have none of users.
        old = dict(self._of_kind(path, "file", "directory").xattrs)
        self._set(path, xattrs=tuple(sorted({**old, name: value}.items())))

    def do_removexattr(self, path: str, name: str) -> None:
        old = dict(self.inodes[self.names[path]].xattrs)
        del old[name]
        self._set(path, xattrs=tuple(sorted(old.items())))

    def do_copy(self, source: str, path: str, start: int, at: int, length: int) -> None:
        data = self._range(source, start, length)
        if self.names[source] == self.names.get(path) and abs(start - at) < length:
            raise StepImpossible(f"{path}: a copy onto itself")  # copy_file_range(2)
        if path not in self.names:
            self.do_creat(path)
        self._put(path, at, data)

    do_clone = do_copy

    def _range(self, path: str, at: int, length: int) -> bytes:
        """Bytes of a file.  Raises unless all are there."""
        found = self._of_kind(path, "file").data[at : at + length]
        if len(found) < length:
            raise StepImpossible(f"{path} ends before {at + length}")
        return found

    def do_dedupe(self, source: str, path: str, start: int, at: int, length: int) -> None:
        """Nothing that can be read changes."""
        if self._range(source, start, length) != self._range(path, at, length):
            raise StepImpossible(f"{source} and {path} do not hold the same")

    def do_fsync(self, path: str) -> None:
        """Nothing that can be read changes; '' is the topmost directory."""
        if path:
            self._of_kind(path, "file", "directory")  # links are not followed

    do_fdatasync = do_fsync

    def do_sync(self) -> None:
        """Nothing that can be read changes."""


def filled(fill: str, length: int) -> bytes:
    """What guest-scripts/suites/crashfs writes."""
    return random.Random(fill).randbytes(length)


@dataclass(frozen=True)
class Sighting:
    """What the guest saw of a name: the inode, its number there, and how large it says to be."""

    inode: Inode
    number: int
    size: int

    @property
    def unread(self) -> str:
        """In words that there is more of a file than was read; '' if there is not."""
        known = len(self.inode.data)
        more = self.inode.kind == "file" and self.size > known
        return f"{self.size} bytes, of which only {known} were read" if more else ""


def seen(names: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Sighting], list[str]]:
    """What the guest saw, by name; and what it could not read, in words."""
    found, wrong = {}, []
    for path, node in names.items():
        if said := node.get("unreadable"):
            wrong.append(f"{path} cannot be read: {said}")
            continue
        data = zlib.decompress(base64.b64decode(node["data"])) if "data" in node else b""
        xattrs = tuple(
            (name, bytes.fromhex(value).decode(errors="replace"))
            for name, value in sorted(node.get("xattrs", {}).items())
        )
        inode = Inode(node["kind"], data, xattrs, node.get("target", ""))
        found[path] = Sighting(inode, node["ino"], node.get("size", 0))
    return found, wrong


def differences(names: Mapping[str, Sighting], tree: Tree) -> list[str]:
    """How what was seen differs from a tree, in words."""
    found = []
    for path in sorted({*names, *tree.names}):
        wanted, there = tree.inode(path), names.get(path)
        if there is None:
            found.append(f"{path} is missing")
        elif wanted is None:
            found.append(f"{path} is there, and must not be")
        elif there.inode != wanted:
            found.append(f"{path}: {told(there.inode, wanted)}")
        elif there.unread:
            found.append(f"{path}: {there.unread}")
    return found


def told(there: Inode, wanted: Inode) -> str:
    """How two inodes differ, in words."""
    if there.kind != wanted.kind:
        return f"a {there.kind}, not a {wanted.kind}"
    if len(there.data) != len(wanted.data):
        return f"{len(there.data)} bytes, not {len(wanted.data)}"
    if there.data != wanted.data:
        pairs = enumerate(zip(there.data, wanted.data, strict=True))
        at = next(at for at, (one, other) in pairs if one != other)
        zeroes = "zeroes" if not any(there.data[at : at + 16]) else there.data[at : at + 4].hex()
        return f"byte {at}: {zeroes}, not {wanted.data[at : at + 4].hex()}"
    if there.xattrs != wanted.xattrs:
        return f"xattrs {dict(there.xattrs)}, not {dict(wanted.xattrs)}"
    return f"-> {there.target}, not -> {wanted.target}"
