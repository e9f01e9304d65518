# SPDX-License-Identifier: GPL-2.0-or-later
"""A sector map in plain text, 80 columns."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from lab.results.sectors.grid import NEIGHBOUR, SOURCE, Grid, grid
from lab.results.sectors.model import (
    FOREIGN,
    NEW,
    OLD,
    TORN,
    UNREADABLE,
    WORDS,
    SectorMap,
    SectorRun,
    SeenSectors,
    sector_map,
)

MARKS = {
    NEW: "n", OLD: "o", TORN: "T", FOREIGN: "X", UNREADABLE: "?", SOURCE: "s", NEIGHBOUR: "·",
    "": " ",
}  # fmt: skip
"""A character for each kind of cell."""

BESIDE = 9
"""Columns for the address in front of a row's cells."""

WIDTH = 80

_LISTED = 16
"""Ranges that have a line."""

_NOTED = 4
"""Sectors of which it is said what they hold."""


def case_map(case: Mapping[str, Any]) -> list[str]:
    """The sector map of a case's document; nothing if it has none."""
    found = sector_map(case)
    return [*after_copy(found, fault(case)), *after_recovery(found)] if found else []


def fault(case: Mapping[str, Any]) -> str:
    """The point of a case, and what was done there."""
    return f"{case.get('point', '')} {case.get('action', '')}".strip()


def after_copy(of: SectorMap, said: str) -> list[str]:
    """The window after the copy, its ranges, and what the odd sectors hold; `said` is the point
    with the fault."""
    cells = grid(of, of.copied)
    found = [*_rows(cells, of, said), *_legend(cells), "", *_ranges(of, of.copied, said)]
    return [*found, *_notes(of.copied)]


def after_recovery(of: SectorMap) -> list[str]:
    """The window after the same copy without the fault; of one that is all new a line."""
    seen = of.recovered
    if seen is None:
        return []
    if set(seen.destination) == {NEW} and not seen.changed:
        return [f"after the same copy again: {seen.summary()}"]
    cells = grid(of, seen)
    return [
        f"after the same copy again: {seen.summary()}", *_rows(cells, of, ""), *_notes(seen),
    ]  # fmt: skip


def _rows(cells: Grid, of: SectorMap, said: str) -> Iterator[str]:
    marked = {place for place, *_ in cells.spans(of.struck)} if of.struck and said else set()
    for place, row in enumerate(cells.rows):
        if row.skipped:
            yield f"{'⋮':>{BESIDE - 1}}"
        marks = "".join(MARKS[cell] for cell in row.cells)
        line = f"{row.start:>{BESIDE - 1}} {marks}"
        yield f"{line} ◄" if place in marked else line.rstrip()


def _legend(cells: Grid) -> Iterator[str]:
    there = {cell for row in cells.rows for cell in row.cells}
    words = [f"{MARKS[state]} {state}" for state in (*WORDS, SOURCE, NEIGHBOUR) if state in there]
    yield " " * BESIDE + "  ".join(words)
    if cells.scale > 1:
        yield " " * BESIDE + f"each stands for {cells.scale} sectors, and for the worst of them"


def _ranges(of: SectorMap, seen: SeenSectors, said: str) -> Iterator[str]:
    """A line for each range; of many ranges those first that were struck or are not all alike."""
    dull: list[tuple[int, str]] = []
    telling: list[tuple[int, str]] = []
    for number, (source, target) in enumerate(of.pieces(), 1):
        states = seen.destination[target.start - of.destination :][: target.sectors]
        runs = [f"{len(list(run))} {state}" for state, run in groupby(states)]
        struck = of.struck in (source, target)
        line = _range(f"R{number:<3} {source!s:>12} → {target!s:<12} ", runs, said * struck)
        (telling if struck or len(runs) > 1 else dull).append((number, line))
    shown = (telling + dull)[:_LISTED]
    yield from (line for _, line in sorted(shown))
    if more := len(telling) + len(dull) - len(shown):
        yield f"and {more} ranges more"


def _range(head: str, runs: list[str], said: str) -> str:
    tail = f"  ◄ {said}" if said else ""
    return head + _short(", ".join(runs), WIDTH - len(head) - len(tail)) + tail


def _notes(seen: SeenSectors) -> Iterator[str]:
    for at, note in list(seen.notes.items())[:_NOTED]:
        yield _short(f"sector {at}: {note}", WIDTH)
    if len(seen.notes) > _NOTED:
        yield f"and {len(seen.notes) - _NOTED} more"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def extents(sectors: list[int]) -> list[SectorRun]:
    """Sectors as stretches."""
    rows = groupby(enumerate(sorted(sectors)), key=lambda each: each[1] - each[0])
    found = [[sector for _, sector in row] for _, row in rows]
    return [SectorRun(row[0], len(row)) for row in found]
