# SPDX-License-Identifier: GPL-2.0-or-later
"""The workload `model`: sequences of operations without any crash, and what the model says of them.

The judge is as good as its model of POSIX.  So a file system carries out sequences drawn from the
seed, many of which fail in the middle, and what it holds then must be what the model says.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lab.suites.crash_states.fs.ace import BLOCK, SETUP, base, operations
from lab.suites.crash_states.fs.bench import FsBench
from lab.suites.crash_states.fs.history import Step
from lab.suites.crash_states.fs.kinds import FileSystemKind
from lab.suites.crash_states.fs.tree import StepImpossible, Tree, differences, seen

MOST = 8
"""Operations of a sequence."""

BATCH = 25
"""Sequences that the guest is asked for at once."""

_FILES = ("foo", "bar", "A/foo", "A/bar", "new", "A/new", "B/foo", "D/foo", "same")
_DIRECTORIES = ("A", "B", "E", "D", "A/C", "B/A")
_PARTIAL = ("copy", "clone", "mapped", "write", "direct")
"""What may have done a part when it fails: the rest says nothing about the model."""


@dataclass(frozen=True)
class Unlike:
    """A sequence after which a file system is not what the model says."""

    steps: tuple[Step, ...]
    said: tuple[str, ...]


def drawn(seed: int, number: int) -> tuple[Step, ...]:
    """A sequence, some of whose steps can be carried out."""
    dice = random.Random(f"{seed}:model:{number}")
    every = [step for _, step in operations()]
    return tuple(
        dice.choice(every) if dice.random() < 0.5 else _step(dice)
        for _ in range(dice.randint(1, MOST))
    )


def _step(dice: random.Random) -> Step:
    """An operation on names that may be there or not."""
    kind = dice.choice(
        ["creat", "write", "truncate", "rename", "link", "unlink", "mkdir", "rmdir", "mapped",
         "rename-directory", "copy", "falloc", "setxattr"]
    )  # fmt: skip
    path, to = dice.choice(_FILES), dice.choice(_FILES)
    at, length = dice.randint(0, 3 * BLOCK), dice.randint(1, 2 * BLOCK)
    match kind:
        case "mkdir" | "rmdir":
            return {"do": kind, "path": dice.choice(_DIRECTORIES)}
        case "rename-directory":
            names = (dice.choice(_DIRECTORIES), dice.choice(_DIRECTORIES))
            return {"do": "rename", "path": names[0], "to": names[1]}
        case "rename" | "link":
            return {"do": kind, "path": path, "to": to}
        case "write" | "mapped":
            return {"do": kind, "path": path, "at": at, "length": length, "fill": str(at)}
        case "truncate":
            return {"do": kind, "path": path, "length": at}
        case "copy":
            return {"do": kind, "source": path, "path": to, "start": 0, "at": at, "length": length}
        case "falloc":
            mode = dice.choice(["extend", "keep-size", "punch", "zero", "zero-keep-size"])
            return {"do": kind, "path": path, "mode": mode, "at": at, "length": length}
        case "setxattr":
            return {"do": kind, "path": path, "name": "user.x", "value": str(at)}
    return {"do": kind, "path": path}


def unlike(steps: Sequence[Step], answer: dict[str, Any]) -> list[str] | None:
    """How what a file system made of a sequence differs from the model; None where that cannot be
    said."""
    tree: Tree = base()
    for step, errno in zip(steps, answer["errnos"][len(SETUP) :], strict=True):
        if step["do"] == "copy" and tree.names.get(step["source"]) == tree.names.get(step["path"]):
            return None  # a file copied onto its own end grows while it is read
        if errno:
            if step["do"] in _PARTIAL:
                return None
            continue
        try:
            tree = tree.after(step)
        except StepImpossible as problem:
            return [f"{dict(step)} has succeeded: {problem}"]
    names, wrong = seen(answer["names"])
    return [*wrong, *differences(names, tree)]


def compare(
    bench: FsBench, kind: FileSystemKind, seed: int, count: int
) -> Iterator[tuple[int, int, Unlike | None]]:
    """Have a file system carry out `count` sequences; after each batch how many are done, how many
    of it said something, and the first that is unlike the model.  Raises LabError and GuestLost."""
    medium = bench.make(kind, ())
    bench.put(kind, medium)
    bench.mount(kind)
    for first in range(0, count, BATCH):
        batch = [drawn(seed, number) for number in range(first, min(first + BATCH, count))]
        asked = [[dict(step) for step in (*SETUP, *steps)] for steps in batch]
        answer = bench.ask(op="try", sequences=asked)
        found, odd = 0, None
        for steps, one in zip(batch, answer["tried"], strict=True):
            said = unlike(steps, one)
            found += said is not None
            if said and odd is None:
                odd = Unlike(steps, tuple(said))
        yield first + len(batch), found, odd
    bench.umount(kind)
    medium.unlink()
