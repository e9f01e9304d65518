# SPDX-License-Identifier: GPL-2.0-or-later
"""A sector map as rows of cells, for whatever draws them: a terminal or a picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lab.results.sectors.model import STATES, SectorMap, SectorRun, SeenSectors

COLUMNS = 64
"""Cells in a row."""

ROWS = 40
"""Rows at most; where there are more sectors a cell stands for several."""

SOURCE, NEIGHBOUR = "source", "neighbour"
"""What an unchanged sector outside the destination is."""

_WORST = (NEIGHBOUR, SOURCE, *STATES)


class Row(NamedTuple):
    """Cells from the sector `start` on; each is a state, or what an unchanged sector is, and ''
    lies outside the window.  `skipped`: rows of unchanged neighbours left out before it."""

    start: int
    cells: tuple[str, ...]
    skipped: int = 0


@dataclass(frozen=True)
class Grid:
    """Rows of cells of `scale` sectors each."""

    rows: tuple[Row, ...]
    scale: int

    def spans(self, part: SectorRun) -> Iterator[tuple[int, int, int]]:
        """Where a stretch lies: the place of a row among the rows, the first cell there and the
        first behind it."""
        for place, row in enumerate(self.rows):
            first = max(0, (part.start - row.start) // self.scale)
            behind = min(COLUMNS, -(-(part.end - row.start) // self.scale))
            if first < behind:
                yield place, first, behind


def grid(of: SectorMap, seen: SeenSectors) -> Grid:
    """The window as it was seen; rows begin at multiples of what one holds."""
    scale = 1
    while of.window.sectors > scale * COLUMNS * ROWS:
        scale *= 2
    length = scale * COLUMNS
    first = of.window.start // length * length
    kinds = _kinds(of, seen)
    rows: list[Row] = []
    for start in range(first, of.window.end, length):
        cells = tuple(_cell(kinds, at, scale) for at in range(start, start + length, scale))
        rows.append(Row(start, cells))
    return Grid(tuple(_without_repeats(rows)), scale)


def _without_repeats(rows: list[Row]) -> Iterator[Row]:
    """Of several rows of unchanged neighbours in a row none but the first."""
    dull: list[Row] = []
    for row in rows:
        if set(row.cells) <= {NEIGHBOUR, ""}:
            dull.append(row)
            continue
        yield from dull[:1]
        yield row._replace(skipped=max(0, len(dull) - 1))
        dull = []
    yield from dull[:1]


def _kinds(of: SectorMap, seen: SeenSectors) -> dict[int, str]:
    found = dict.fromkeys(range(of.window.start, of.window.end), NEIGHBOUR)
    for source in of.sources:
        found.update(dict.fromkeys(range(source.start, source.end), SOURCE))
    found.update(zip(range(of.target.start, of.target.end), seen.destination, strict=True))
    found.update(seen.changed)
    return found


def _cell(kinds: dict[int, str], at: int, scale: int) -> str:
    """The worst of the sectors that a cell stands for."""
    here = [kinds[sector] for sector in range(at, at + scale) if sector in kinds]
    return max(here, key=_WORST.index, default="")
