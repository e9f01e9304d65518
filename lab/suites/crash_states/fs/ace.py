# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounded workloads: every operation of a small space, with every way to make it durable.

Written from the description of ACE (Mohan and others, "Finding Crash-Consistency Bugs with Bounded
Black-Box Crash Testing", OSDI 2018, section 4): few files, few directories, few places in a file
(its beginning, its middle, its end, over the end), one operation, then fsync, fdatasync, sync or
nothing.  copy_file_range, clone and dedupe are added.  What the operations need is there and
durable before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.suites.crash_states.fs.tree import Tree

Step = Mapping[str, Any]
"""An operation as guest-scripts/suites/crashfs takes it."""

BLOCK = 4096

SETUP: tuple[Step, ...] = (
    {"do": "creat", "path": "foo"},
    {"do": "write", "path": "foo", "at": 0, "length": 2 * BLOCK, "fill": "foo"},
    {"do": "creat", "path": "bar"},
    {"do": "write", "path": "bar", "at": 0, "length": 2 * BLOCK, "fill": "bar"},
    {"do": "mkdir", "path": "A"},
    {"do": "creat", "path": "A/foo"},
    {"do": "write", "path": "A/foo", "at": 0, "length": 5000, "fill": "A/foo"},
    {"do": "creat", "path": "A/bar"},
    {"do": "write", "path": "A/bar", "at": 0, "length": BLOCK, "fill": "A/bar"},
    {"do": "setxattr", "path": "A/bar", "name": "user.old", "value": "old"},
    {"do": "mkdir", "path": "B"},
    {"do": "mkdir", "path": "E"},
    {"do": "creat", "path": "same"},
    {"do": "write", "path": "same", "at": 0, "length": BLOCK, "fill": "foo"},
)
"""What is there before, and durable."""


def base() -> Tree:
    """The tree that these make."""
    tree = Tree()
    for step in SETUP:
        tree = tree.after(step)
    return tree


@dataclass(frozen=True)
class FsWorkload:
    """One operation, and what makes it durable, if anything does."""

    name: str
    step: Step
    sync: Step | None

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {"name": self.name, "step": dict(self.step), "sync": self.sync and dict(self.sync)}


def workloads() -> Iterator[FsWorkload]:
    """All of them, in an order that is always the same."""
    for name, step in operations():
        for how, sync in _syncs(step):
            yield FsWorkload(f"{name}/{how}", step, sync)


def operations() -> Iterator[tuple[str, Step]]:
    """The operations, with their names."""
    yield from _names()
    yield from _writes()
    yield from _layout()
    yield from _sharing()


def _names() -> Iterator[tuple[str, Step]]:
    for path in ("new", "A/new"):
        yield f"creat-{_said(path)}", {"do": "creat", "path": path}
    for path in ("C", "A/C"):
        yield f"mkdir-{_said(path)}", {"do": "mkdir", "path": path}
    for path, to in (
        ("foo", "new"), ("foo", "bar"), ("foo", "A/new"), ("foo", "A/bar"), ("A/foo", "new"),
        ("A/foo", "A/bar"), ("A/foo", "B/foo"), ("A", "D"), ("A", "B/A"),
    ):  # fmt: skip
        yield f"rename-{_said(path)}-{_said(to)}", {"do": "rename", "path": path, "to": to}
    for path, to in (("foo", "new"), ("foo", "A/new"), ("A/foo", "B/new")):
        yield f"link-{_said(path)}-{_said(to)}", {"do": "link", "path": path, "to": to}
    for to in ("new", "A/new"):
        yield f"symlink-{_said(to)}", {"do": "symlink", "path": "foo", "to": to}
    for path in ("foo", "A/foo"):
        yield f"unlink-{_said(path)}", {"do": "unlink", "path": path}
    yield "rmdir-E", {"do": "rmdir", "path": "E"}
    for path, name in (("foo", "user.new"), ("A/bar", "user.old")):
        step = {"do": "setxattr", "path": path, "name": name, "value": "new"}
        yield f"setxattr-{_said(path)}", step
    yield "removexattr", {"do": "removexattr", "path": "A/bar", "name": "user.old"}


def _writes() -> Iterator[tuple[str, Step]]:
    for how in ("write", "direct", "mapped"):
        for where, path, at, length in (
            ("begin", "foo", 0, BLOCK), ("end", "A/bar", 0, BLOCK),
            ("append", "foo", 2 * BLOCK, BLOCK), ("middle", "A/foo", 1000, 3000),
            ("over-the-end", "A/foo", 4000, 6000), ("behind-the-end", "foo", 4 * BLOCK, BLOCK),
        ):  # fmt: skip
            # Direct writes are of whole blocks; a mapping ends where its file does.
            if how == "direct" and (at % BLOCK or length % BLOCK):
                continue
            if how == "mapped" and where not in ("begin", "end", "middle"):
                continue
            step = {"do": how, "path": path, "at": at, "length": length, "fill": f"{how}-{where}"}
            yield f"{how}-{where}", step


def _layout() -> Iterator[tuple[str, Step]]:
    for mode, at, length in (
        ("extend", 2 * BLOCK, 2 * BLOCK), ("keep-size", 2 * BLOCK, 2 * BLOCK),
        ("punch", 0, BLOCK), ("zero", BLOCK, 2 * BLOCK), ("zero-keep-size", BLOCK, 2 * BLOCK),
        ("collapse", 0, BLOCK),
    ):  # fmt: skip
        step = {"do": "falloc", "path": "foo", "mode": mode, "at": at, "length": length}
        yield f"falloc-{mode}", step
    for name, length in (("empty", 0), ("shorter", 5000), ("longer", 5 * BLOCK)):
        yield f"truncate-{name}", {"do": "truncate", "path": "foo", "length": length}


def _sharing() -> Iterator[tuple[str, Step]]:
    for how in ("copy", "clone"):
        for where, path, at in (
            ("begin", "foo", 0), ("append", "foo", 2 * BLOCK), ("to-new", "new", 0),
            ("into-directory", "A/bar", 0),
        ):  # fmt: skip
            step = {"do": how, "source": "bar", "path": path, "start": BLOCK, "at": at,
                    "length": BLOCK}  # fmt: skip
            yield f"{how}-{where}", step
    step = {"do": "dedupe", "source": "same", "path": "foo", "start": 0, "at": 0, "length": BLOCK}
    yield "dedupe", step


def _said(path: str) -> str:
    return path.replace("/", "_")


def _syncs(step: Step) -> Iterator[tuple[str, Step | None]]:
    """What can make an operation durable, and nothing."""
    kind, path = step["do"], step.get("to", step["path"])
    directory = path.rpartition("/")[0]
    if kind not in ("symlink", "unlink", "rmdir"):
        yield "fsync", {"do": "fsync", "path": path}
    if kind in ("write", "direct", "mapped", "falloc", "truncate", "copy", "clone", "dedupe"):
        yield "fdatasync", {"do": "fdatasync", "path": path}
    if kind in ("creat", "mkdir", "rename", "link", "symlink", "unlink", "rmdir"):
        yield "fsync-directory", {"do": "fsync", "path": directory}
    yield "sync", {"do": "sync"}
    yield "nothing", None
