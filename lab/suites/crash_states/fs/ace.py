# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounded workloads: every operation of a small space, with every way to make it durable.

Written from the description of ACE (Mohan and others, "Finding Crash-Consistency Bugs with Bounded
Black-Box Crash Testing", OSDI 2018, section 4): few files, few directories, few places in a file
(its beginning, its middle, its end, over the end), one operation, then fsync, fdatasync, sync or
nothing.  copy_file_range, clone and dedupe are added.  What the operations need is there and
durable before.
"""

import random
from collections.abc import Iterator, Sequence

from lab.suites.crash_states.fs.history import SYNCS, Step
from lab.suites.crash_states.fs.tree import StepImpossible, Tree
from lab.suites.crash_states.fs.workload import FsWorkload, planted

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
    return planted(SETUP)


def workloads() -> Iterator[FsWorkload]:
    """All of them, in an order that is always the same."""
    for name, step in operations():
        for how, sync in _syncs(step):
            yield FsWorkload(f"{name}/{how}", (step, *([sync] if sync else [])), SETUP)


def sequences(seed: int, length: int, number: int) -> list[FsWorkload]:
    """Workloads of several operations, drawn from the same space.

    Each operation behind the first is of what one before it named, as often as of anything; behind
    each comes a call that syncs, or none, and behind the last most often one.
    """
    every = list(operations())
    found: dict[str, FsWorkload] = {}
    for each in range(100 * number):
        made = _drawn(random.Random(f"{seed}:{length}:{each}"), length, every)
        if made:
            found.setdefault(made.name, made)
        if len(found) == number:
            break
    return list(found.values())


def _drawn(
    dice: random.Random, length: int, every: Sequence[tuple[str, Step]]
) -> FsWorkload | None:
    """A sequence; None where what was drawn cannot be carried out one after the other."""
    tree = base()
    names: list[str] = []
    steps: list[Step] = []
    for at in range(length):
        name, step = dice.choice(every)
        if steps and dice.random() < 0.5:
            name, step = _about(dice, name, step, steps)
        try:
            tree = tree.after(step)
        except StepImpossible:
            return None
        steps.append(step)
        said, call = dice.choice(_calls(dice, steps, tree, last=at == length - 1))
        names.append(f"{name}/{said}")
        if call:
            steps.append(call)
    return FsWorkload("+".join(names), tuple(steps), SETUP)


def _about(dice: random.Random, name: str, step: Step, steps: list[Step]) -> tuple[str, Step]:
    """The same operation on a name that an earlier step had to do with."""
    names = sorted({str(each[key]) for each in steps for key in ("path", "to") if each.get(key)})
    key = dice.choice([key for key in ("path", "to") if key in step])
    other = dice.choice(names)
    return f"{name}@{_said(other)}", {**step, key: other}


def _calls(
    dice: random.Random, steps: list[Step], tree: Tree, *, last: bool
) -> list[tuple[str, Step | None]]:
    """What may sync a sequence, of what its last operation made or of what an earlier one did."""
    calls = [each for each in _syncs(steps[-1]) if not last or each[1]]
    if last and len(steps) > 1:
        files = [path for path, number in tree.names.items() if tree.inodes[number].kind == "file"]
        before = [each for each in steps[:-1] if each["do"] not in SYNCS]
        other = str(dice.choice(before).get("to") or before[0]["path"])
        for path in {other, dice.choice(sorted(files))} & set(files):
            calls.append((f"fsync-{_said(path)}", {"do": "fsync", "path": path}))
    there = [
        (said, call) for said, call in calls
        if not call or _allows(tree, call)
    ]  # fmt: skip
    return there or [("sync", {"do": "sync"})]


def _allows(tree: Tree, step: Step) -> bool:
    try:
        tree.after(step)
    except StepImpossible:
        return False
    return True


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
