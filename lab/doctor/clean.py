# SPDX-License-Identifier: GPL-2.0-or-later
"""Removing leftovers, with the locks of whoever could want them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.artifacts import cache
from lab.doctor import leftovers
from lab.doctor.leftovers import Leftover
from lab.guest import registry
from lab.host import dirs
from lab.host.process import touching


@dataclass(frozen=True)
class Removal:
    """What became of a leftover; `kept` says why it is still there, '' if it is gone."""

    leftover: Leftover
    kept: str = ""


def clean() -> Iterator[Removal]:
    """Remove what is dead, half-built or superseded, one after the other; what came of each.

    Nothing that a guest, a run or a build uses, and nothing but below the lab's own directories.
    Raises HostError for what cannot be removed.
    """
    for leftover in leftovers.killed():
        gone = registry.remove_if(leftover.path, registry.was_left)
        yield Removal(leftover, "" if gone else "a lab is starting it")
    for leftover in leftovers.dead():
        yield Removal(leftover, _remove_dead(leftover.path))
    for leftover in leftovers.half_built():
        yield Removal(leftover, "" if cache.sweep(leftover.path) else "a build is at it")
    for artifact, leftover in leftovers.superseded():
        yield Removal(leftover, "" if cache.remove_unused(artifact) else "in use")


def _remove_dead(path: Path) -> str:
    """Remove a guest that died; why it was kept, or ''."""
    record = registry.read(path)
    other = registry.read(registry.directory(record.link.other)) if record and record.link else None
    if other and other.alive():
        return f"its peer {other.name} runs: lab down {path.name}"
    # One that a run works with (--on) may be about to boot it again.
    if touching(dirs.state("runs")):
        return "a run is under way"
    return "" if registry.remove_if(path, registry.died) else "a lab is starting it"
