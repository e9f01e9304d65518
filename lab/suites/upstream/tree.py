# SPDX-License-Identifier: GPL-2.0-or-later
"""A suite that a person built: checked against the guest, and packed for it."""

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.artifacts import cache, erofs
from lab.artifacts.cache import Progress
from lab.artifacts.image import Image
from lab.errors import HostError, UsageError
from lab.host import dirs, settings
from lab.host.walk import walk
from lab.suites.upstream.elf import ElfFile, programs

MACHINE = "x64"
"""What guests are, in the words of pyelftools."""

LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib", "/usr/lib64")
"""Where a guest has its shared libraries (Debian merges /lib into /usr/lib)."""

BUILD_HINT = "build it as its own README says, in: lab shell build --bind "

_LEFT_OUT = r"^\.git(/|$)"
_KIND = "tree"
_KEPT_FOR = 14 * 86400.0
"""Seconds after its last use for which a packed tree is kept."""
_NAMED = 5
"""Programs that an error names, of those it is about."""


@dataclass(frozen=True)
class TreeLayout:
    """What a tree of some suite looks like."""

    suite: str
    entry: str
    """The program that runs its cases."""
    built: Mapping[str, str]
    """By source file, the program that is built from it: is one there, so must be the other."""


def choose_tree(layout: TreeLayout, asked: Path | None) -> Path:
    """The tree that was asked for, or else the one in the user's settings; see find_tree().

    Raises UsageError when there is none.
    """
    tree = asked or getattr(settings.load().suites, layout.suite).tree
    if tree is None:
        raise UsageError(
            f"{layout.suite}: which tree? it is built by its own README, and not part of the lab",
            hint=f"--tree DIR, or suites.{layout.suite}.tree in ~/.config/lab/config.yaml; to "
            "build one that fits the guests: lab shell build --bind DIR",
        )
    return find_tree(layout, tree)


def find_tree(layout: TreeLayout, tree: Path) -> Path:
    """The tree at a path.  Raises UsageError when it is no tree of that suite, or is not built."""
    tree = dirs.expanded(tree).resolve()
    if not os.access(tree / layout.entry, os.X_OK):
        raise UsageError(
            f"{tree}: no tree of {layout.suite}: it has no program `{layout.entry}`",
            hint=f"name a built one with --tree, or as suites.{layout.suite}.tree in the settings",
        )
    for source, program in layout.built.items():
        if (tree / source).exists() and not (tree / program).exists():
            raise UsageError(
                f"{tree}: {layout.suite} is not built: {source} is there, but no {program}",
                hint=BUILD_HINT + str(tree),
            )
    return tree


def pack_tree(layout: TreeLayout, tree: Path, image: Image, progress: Progress) -> Path:
    """The tree as an erofs for guests of that image, packed if it has changed.

    Raises UsageError, naming what is wrong, when its programs cannot run there.
    """
    _sweep()
    inputs = {"tree": str(tree), "content": _fingerprint(tree), "image": str(image.root)}

    def build(directory: Path) -> dict[str, str]:
        progress(f"{layout.suite}: check {tree}")
        check_fits(tree, list(programs(tree)), libraries(image))
        progress(f"{layout.suite}: pack {tree}")
        erofs.pack(tree, directory / "tree.erofs", leave_out=_LEFT_OUT)
        return {}

    artifact = cache.ensure(_KIND, layout.suite, inputs, build, progress, room=256 << 20)
    os.utime(artifact.path)
    return artifact.path / "tree.erofs"


def libraries(image: Image) -> frozenset[str]:
    """The names of all files that guests of an image have where shared libraries are."""
    found: frozenset[str] = frozenset()
    for directory in LIBRARIES:
        with suppress(HostError):  # an image without /usr/lib64
            found |= erofs.names(image.root, directory)
    return found


def check_fits(tree: Path, found: Sequence[ElfFile], present: Iterable[str]) -> None:
    """Raise UsageError if programs are for another machine, or need libraries that are neither
    `present` nor in the tree itself."""
    foreign = [program for program in found if program.machine != MACHINE]
    if foreign:
        raise UsageError(
            f"{tree}: built for {foreign[0].machine}, and guests are {MACHINE}",
            detail=_named(tree, foreign),
            hint=BUILD_HINT + str(tree),
        )
    present = {*present, *(program.provides for program in found)}
    lacking: dict[str, list[ElfFile]] = defaultdict(list)
    for program in found:
        for library in program.needs - present:
            lacking[library].append(program)
    if lacking:
        raise UsageError(
            f"{tree}: the guest has no {', '.join(sorted(lacking))}",
            detail="\n".join(
                f"{library}: needed by {_named(tree, users)}"
                for library, users in sorted(lacking.items())
            ),
            hint=BUILD_HINT + str(tree),
        )


def _named(tree: Path, found: Sequence[ElfFile]) -> str:
    names = [str(program.path.relative_to(tree)) for program in found[:_NAMED]]
    more = len(found) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _fingerprint(tree: Path) -> str:
    """A hash of names, modes, sizes and times: what changes with the content, read quickly."""
    digest = hashlib.sha256()
    for directory, subdirectories, files in walk(tree):
        subdirectories[:] = sorted(name for name in subdirectories if name != ".git")
        for name in sorted(files):
            status = Path(directory, name).lstat()
            record = (directory, name, status.st_mode, status.st_size, status.st_mtime_ns)
            digest.update(repr(record).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _sweep() -> None:
    """Remove packed trees that nobody has used for a while."""
    for artifact in cache.listing(_KIND):
        if time.time() - artifact.path.stat().st_mtime > _KEPT_FOR:
            cache.remove(artifact)
