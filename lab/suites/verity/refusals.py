# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of what cannot be: options that a kernel or veritysetup must refuse, and say why.

What a case is about is who hears of it.  A table that the kernel does not like gives EINVAL to
whoever loads it, and the reason stands in the kernel's log only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from lab.suites.verity.checker import CheckFailure, told
from lab.suites.verity.scene import VerityCase, VerityScene
from lab.suites.verity.target import SALT, Target
from lab.suites.verity.trees import Trees

NAME = "lab-refused"
_SECTOR = 512


@dataclass(frozen=True)
class Refusal:
    """Something to be refused: one of these words must be said, to user space or in the log."""

    name: str
    words: tuple[str, ...]
    argv: Callable[[Target, str], list[str]]
    """Of a target and its root hash."""
    table: tuple[str, ...] = ()
    """Optional arguments of a table that dmsetup is given on stdin."""
    refused: bool = True
    """Whether the exit status tells it as well."""


def _dmsetup(_target: Target, _root: str) -> list[str]:
    return ["dmsetup", "create", NAME, "--readonly"]


def _wrong_root(target: Target, root: str) -> list[str]:
    return target.opening(root[::-1], (), NAME)


def _no_tree(target: Target, root: str) -> list[str]:
    return ["veritysetup", "open", target.data.node, NAME, target.data.node, root]


def _two_modes(target: Target, root: str) -> list[str]:
    return target.opening(root, ("--ignore-corruption", "--restart-on-corruption"), NAME)


REFUSALS = (
    Refusal("unknown-option", ("no_such_option",), _dmsetup, ("no_such_option",)),
    Refusal("fec-of-one-root", ("fec_roots",), _dmsetup, ("fec_roots", "1")),
    Refusal(
        "two-modes-in-table", ("onflict",), _dmsetup, ("ignore_corruption", "restart_on_corruption")
    ),
    Refusal("two-modes", ("annot be used", "onflict", "ombin", "nly one"), _two_modes),
    Refusal("no-tree", ("not a valid VERITY",), _no_tree),
    # It is opened all the same.
    Refusal("wrong-root-hash", ("detected corruption",), _wrong_root, refused=False),
)


def cases(trees: Trees) -> Iterator[VerityCase]:
    """The cases."""
    for refusal in REFUSALS:
        yield VerityCase(f"refused-{refusal.name}", partial(_refused, trees, refusal))


def _refused(trees: Trees, refusal: Refusal, scene: VerityScene) -> list[str]:
    target = trees.plain
    _, root = trees.ready(target, scene)
    table = _table(target, root, refusal.table) if refusal.table else None
    said = scene.checker.run(*refusal.argv(target, root), text=table)
    # Whatever came of it: a table that the kernel refused leaves a device without one.
    scene.checker.run("dmsetup", "remove", "--retry", NAME)
    if refusal.refused != bool(said.status):
        raise CheckFailure(f"exit status {said.status}: {' '.join(said.argv)}")
    lines = [f"exit status {said.status}", f"user space: {said.user or 'nothing'}"]
    lines += [f"only in the kernel's log: {line}" for line in told(said.only_in_log())]
    if not said.user:
        raise CheckFailure("user space was told nothing")
    if not any(word in line for word in refusal.words for line in (said.user, *said.kernel)):
        raise CheckFailure(f"nobody says why: {'; '.join(lines)}")
    return lines


def _table(target: Target, root: str, options: tuple[str, ...]) -> str:
    """A table of dm-verity (admin-guide/device-mapper/verity.rst, "Construction Parameters")."""
    blocks, size = target.tree.blocks, target.size
    words = [
        "0", blocks * size // _SECTOR, "verity", 1, target.data.node, target.hash.node, size, size,
        blocks, 1, target.layer.algorithm, root, SALT, len(options), *options,
    ]  # fmt: skip
    return " ".join(str(word) for word in words) + "\n"
