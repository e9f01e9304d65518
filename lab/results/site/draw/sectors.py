# SPDX-License-Identifier: GPL-2.0-or-later
"""A sector map as a picture: a row of cells for each 64 sectors, or for as many as fit."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby

from markupsafe import Markup

from lab.results.sectors import grid as cells
from lab.results.sectors.grid import COLUMNS, Grid, grid
from lab.results.sectors.model import FOREIGN, NEW, OLD, TORN, UNREADABLE, SectorMap
from lab.results.sectors.text import extents
from lab.results.site.draw import canvas
from lab.results.site.draw.canvas import Box, Line, Sheet, drawing, inline

_LEFT, _TOP = 46.0, 4.0
"""Pixels for the addresses, and above the rows."""
_CELL, _ROW = 4.25, 13.0
"""A cell's pixels."""
_RIGHT = 54.0
"""Pixels for the names of ranges and the mark of the point."""
_NAMES = 2
"""Names beside a row."""
_GAP = 9.0
"""Pixels for rows that were left out."""

_FILL = {
    NEW: canvas.NEW, OLD: canvas.OLD, TORN: canvas.TORN, FOREIGN: canvas.FOREIGN,
    UNREADABLE: canvas.UNREADABLE, cells.SOURCE: canvas.SOURCE, cells.NEIGHBOUR: canvas.NEIGHBOUR,
}  # fmt: skip
_MARKED = {
    TORN: ([(0.1, 0.9), (0.9, 0.1)],),
    FOREIGN: ([(0.1, 0.1), (0.9, 0.9)], [(0.1, 0.9), (0.9, 0.1)]),
    UNREADABLE: ([(0.5, 0.2), (0.5, 0.8)], [(0.1, 0.5), (0.9, 0.5)]),
}
"""Strokes in a cell, for those who see no colours."""

Spans = tuple[tuple[int, int, int], ...]
"""Where a range lies, as Grid.spans() tells it."""


def copied(of: SectorMap) -> Markup:
    """The window after the copy, with the request that was struck and what the lab damaged."""
    shown = grid(of, of.copied)
    struck = tuple(shown.spans(of.struck)) if of.struck else ()
    damaged = tuple(span for part in extents(list(of.damaged)) for span in shown.spans(part))
    return _drawn(shown, _parts(of, shown), struck, damaged)


def recovered(of: SectorMap) -> Markup:
    """The window after the same copy without the fault; empty if that was not recorded."""
    if of.recovered is None:
        return Markup()
    shown = grid(of, of.recovered)
    return _drawn(shown, _parts(of, shown), (), ())


def _parts(of: SectorMap, shown: Grid) -> tuple[Spans, ...]:
    return tuple(tuple(shown.spans(part)) for pair in of.pieces() for part in pair)


@lru_cache(maxsize=256)
def _drawn(
    shown: Grid,
    parts: tuple[Spans, ...],
    struck: Spans,
    damaged: Spans,
) -> Markup:
    """The cases of a sweep have few maps among them: each is drawn once."""
    tops = list(_tops(shown))
    height = tops[-1] + _ROW + 4
    with drawing():
        sheet = Sheet(_LEFT + COLUMNS * _CELL + _RIGHT, height)
        _fill(sheet, shown, tops)
        for part in parts:
            _outline(sheet, part, tops, canvas.DIM, 0.7)
        _names(sheet, parts, tops)
        if struck:
            _outline(sheet, struck, tops, canvas.BAD, 1.6)
            at = (_LEFT + COLUMNS * _CELL + _RIGHT - 2, tops[struck[0][0]] + _ROW / 2)
            sheet.text(*at, "◄", canvas.BAD, ha="right", size=8)
        if damaged:
            _outline(sheet, damaged, tops, canvas.ODD, 1.6)
            at = (_LEFT + COLUMNS * _CELL + _RIGHT - 14, tops[damaged[0][0]] + _ROW / 2)
            sheet.text(*at, "◊", canvas.ODD, ha="right", size=8)
        for row, top in zip(shown.rows, tops, strict=True):
            _address(sheet, top + _ROW / 2, str(row.start))
            if row.skipped:
                _address(sheet, top - _GAP / 2, "⋮")
        return inline(sheet.figure, _words(shown), "map")


def _address(sheet: Sheet, middle: float, words: str) -> None:
    sheet.text(_LEFT - 4, middle, words, canvas.DIM, ha="right", size=6.5)


def _tops(shown: Grid) -> Iterator[float]:
    at = _TOP
    for row in shown.rows:
        at += _GAP if row.skipped else 0.0
        yield at
        at += _ROW


def _fill(sheet: Sheet, shown: Grid, tops: list[float]) -> None:
    """A path for each kind of cell, the lines between cells, and strokes in the odd ones."""
    found: dict[str, list[Box]] = {}
    for row, top in zip(shown.rows, tops, strict=True):
        at = 0
        for state, run in groupby(row.cells):
            behind = at + len(list(run))
            if state:
                found.setdefault(state, []).append(_box(top, at, behind))
            at = behind
    for state, there in found.items():
        sheet.boxes(there, _FILL[state])
    columns = (_LEFT + cell * _CELL for cell in range(1, COLUMNS))
    sheet.strokes([[(x, tops[0]), (x, tops[-1] + _ROW)] for x in columns], canvas.BACK, 0.3)
    for state, marks in _MARKED.items():
        sheet.strokes(list(_struck(found.get(state, ()), marks)), canvas.BACK, 0.8)


def _struck(there: Iterable[Box], marks: Sequence[Line]) -> Iterator[Line]:
    """The strokes of each cell."""
    for box in there:
        high = box.bottom - box.top
        for cell in range(round((box.right - box.left) / _CELL)):
            for mark in marks:
                yield [(box.left + (cell + a) * _CELL, box.top + b * high) for a, b in mark]


def _outline(sheet: Sheet, spans: Spans, tops: list[float], color: str, width: float) -> None:
    around = [_box(tops[place], first, behind) for place, first, behind in spans]
    sheet.boxes(around, color, edge=width)


def _box(top: float, first: int, behind: int) -> Box:
    return Box(_LEFT + first * _CELL, top + 1, _LEFT + behind * _CELL, top + _ROW - 1)


def _names(sheet: Sheet, parts: Sequence[Spans], tops: list[float]) -> None:
    """The ranges that begin in a row, beside it: nothing may hide a cell."""
    found: dict[int, list[str]] = {}
    for number, part in enumerate(parts):
        if part:
            name = f"{'D' if number % 2 else 'R'}{number // 2 + 1}"
            found.setdefault(part[0][0], []).append(name)
    for place, names in found.items():
        words = " ".join(names[:_NAMES]) + ("…" if len(names) > _NAMES else "")
        at = (_LEFT + COLUMNS * _CELL + 4, tops[place] + _ROW / 2)
        sheet.text(*at, words, canvas.TEXT, size=6.5)


def _words(shown: Grid) -> str:
    kinds = [cell for row in shown.rows for cell in row.cells if cell]
    counts = {kind: kinds.count(kind) * shown.scale for kind in dict.fromkeys(kinds)}
    return "sectors: " + ", ".join(f"{count} {kind}" for kind, count in counts.items())
