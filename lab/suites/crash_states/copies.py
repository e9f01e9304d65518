# SPDX-License-Identifier: GPL-2.0-or-later
"""The workload `copies`: copies of all shapes, one after the other, with flushes between them.

Pure: the same path, seed and size give the same.  Each copy has a window of its own, so that what
one must leave behind does not depend on the others.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lab.copy.model import SECTOR, Copy, Extent, Layout
from lab.copy.oracle import Tagging
from lab.copy.paths.base import CopyPath
from lab.errors import ProfileError, UsageError
from lab.suites.copy_faults.generate import Space, draw
from lab.suites.copy_faults.selection import Selection

_MOST_UNFLUSHED = 3
"""Copies between two flushes."""


@dataclass(frozen=True)
class CopyOperation:
    """A copy of a workload, by its number from 1 on, and the tags that its window has before.

    `flushed`: a flush is asked for behind it, which makes it and all before it durable.
    """

    number: int
    layout: Layout
    tagging: Tagging
    flushed: bool

    @property
    def name(self) -> str:
        """How people call it."""
        return f"copy {self.number}"

    def document(self) -> dict[str, Any]:
        """Its JSON; addresses and lengths in sectors."""
        copy, window = self.layout.copy, self.layout.window
        return {
            "number": self.number,
            "sources": [[source.start, source.sectors] for source in copy.sources],
            "destination": copy.destination,
            "unit": copy.unit,
            "window": [window.start, window.sectors],
            "generation": self.tagging.generation,
            "run": self.tagging.run,
            "flushed": self.flushed,
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "CopyOperation":
        """The operation of such a JSON.  Raises KeyError, TypeError or ValueError."""
        sources = tuple(Extent(start, sectors) for start, sectors in document["sources"])
        window = Extent(*document["window"])
        layout = Layout(Copy(sources, document["destination"], document["unit"]), window)
        tagging = Tagging(window, document["generation"], document["run"])
        return cls(document["number"], layout, tagging, document["flushed"])


@dataclass(frozen=True)
class CopyWorkload:
    """What copies are drawn from: `size` bytes of windows, of copies of up to `ranges` ranges of up
    to `blocks` logical blocks."""

    size: int
    ranges: int
    blocks: int
    seed: int

    def draw(self, path: CopyPath, run: int) -> list[CopyOperation]:
        """The copies; `run` is the number that marks the tags of this run.

        Raises ProfileError where the path's copies cannot be judged on the raw medium, UsageError
        where there is no room.
        """
        alone = path.on_medium and path.source is None
        if not (alone and path.any_shape and path.passthrough) or path.copies_last:
            raise ProfileError(
                f"{path.name} on {path.ref}: its copies cannot be judged on the raw medium",
                hint="crash-states takes nvme-copy on a namespace without zones and metadata",
            )
        drawn = list(self._drawn(path, run))
        if not drawn:
            raise UsageError(
                f"{self.size >> 10} KiB have room for no copy", hint="raise --size, or ask for less"
            )
        return [*drawn[:-1], replace(drawn[-1], flushed=False)]

    def _drawn(self, path: CopyPath, run: int) -> Iterator[CopyOperation]:
        space = _space(path, self.ranges, self.blocks)
        dice = random.Random(f"{self.seed}:flushes")
        start = path.first
        end = min(start + self.size // SECTOR, path.size // SECTOR)
        left = dice.randint(1, _MOST_UNFLUSHED)
        for number in range(1, end):
            layout = _moved(draw(space, self.seed, number), start)
            if layout.window.end > end:
                return
            start = layout.window.end
            left -= 1
            tagging = Tagging(layout.window, number, run)
            yield CopyOperation(number, layout, tagging, left == 0)
            left = left or dice.randint(1, _MOST_UNFLUSHED)


def _space(path: CopyPath, ranges: int, blocks: int) -> Space:
    unit, limits = path.unit, path.limits
    length = min(blocks, limits.mssrl)
    ranges = min(ranges, limits.msrc, limits.mcl)
    return Space(
        path, Selection(()), path.first // unit, path.size // (unit * SECTOR), ranges, length,
        min(ranges * length, limits.mcl),
    )  # fmt: skip


def _moved(layout: Layout, start: int) -> Layout:
    """The same with its window somewhere else; addresses in sectors."""
    by = start - layout.window.start
    copy = layout.copy
    sources = tuple(Extent(source.start + by, source.sectors) for source in copy.sources)
    return Layout(
        Copy(sources, copy.destination + by, copy.unit), Extent(start, layout.window.sectors)
    )
