# SPDX-License-Identifier: GPL-2.0-or-later
"""Swim lanes as a picture."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from lab.results.site.draw import canvas
from lab.results.site.draw.canvas import Box, Sheet, drawing, inline
from lab.results.site.lanes import CALLER, DEVICE, KERNEL, LANES, QMP, READS, Bar, LaneEvent, Lanes

_WIDTH, _LANE, _FOOT, _TOP = 720.0, 27.0, 34.0, 4.0
_LEFT, _RIGHT, _BREAK = 84.0, 10.0, 26.0
_LETTER = 5.2
"""Pixels, the last those of a letter of a label."""
_LEAST = 0.22
"""The part of the width that a panel has at least."""
_TICK = 90
"""Pixels for a tick with its number."""
_LONG = 5.0
"""Seconds from which on the axis has seconds, not milliseconds."""


@dataclass(frozen=True)
class Panel:
    """A stretch of time, in seconds, and the pixels that it has."""

    start: float
    end: float
    left: float
    right: float

    def x(self, at: float) -> float:
        """Where a moment lies."""
        return self.left + (at - self.start) / (self.end - self.start) * (self.right - self.left)

    def cut(self, bar: Bar) -> tuple[float, float] | None:
        """Where the part of a bar lies that is in the panel."""
        start, end = max(bar.start, self.start), min(bar.end, self.end)
        return (self.x(start), self.x(end)) if start < end else None


def picture(of: Lanes) -> Markup:
    """The lanes, with the held interval as a band; empty if nothing happened."""
    if not of.panels:
        return Markup()
    with drawing():
        sheet = Sheet(_WIDTH, _TOP + len(LANES) * _LANE + _FOOT)
        panels = list(_panels(of))
        _ground(sheet, panels)
        for panel in panels:
            _bars(sheet, of, panel)
            _marks(sheet, [mark for mark in of.marks if panel.start <= mark.at <= panel.end], panel)
        unit = _axis(sheet, panels)
        below = _TOP + len(LANES) * _LANE + 24
        sheet.text(_LEFT, below, f"{unit} since the case began", canvas.DIM, size=7)
        return inline(sheet.figure, _words(of), "lanes")


def _panels(of: Lanes) -> Iterator[Panel]:
    """A panel for each stretch of time, wider where more happens."""
    room = _WIDTH - _LEFT - _RIGHT - _BREAK * (len(of.panels) - 1)
    counts = [
        sum(start <= mark.at <= end for mark in of.marks if mark.lane != KERNEL)
        for start, end in of.panels
    ]
    shares = [max(_LEAST, count / max(sum(counts), 1)) for count in counts]
    at = _LEFT
    for (start, end), share in zip(of.panels, shares, strict=True):
        wide = room * share / sum(shares)
        spare = max((end - start) * 0.02, 1e-4)
        yield Panel(start - spare, end + spare, at, at + wide)
        at += wide + _BREAK


def _ground(sheet: Sheet, panels: Sequence[Panel]) -> None:
    """The lanes themselves, their names, and what was left out between panels."""
    for number, lane in enumerate(LANES):
        middle = _TOP + (number + 0.5) * _LANE
        sheet.text(_LEFT - 6, middle, lane, canvas.TEXT, ha="right", size=7.5)
        if number % 2 == 0:
            top = _TOP + number * _LANE
            striped = [Box(panel.left, top, panel.right, top + _LANE) for panel in panels]
            sheet.boxes(striped, canvas.PANEL)
    middle = _TOP + len(LANES) * _LANE / 2
    for before, after in pairwise(panels):
        pause = f"⋯ {_span(after.start - before.end)} ⋯"
        at = (before.right + after.left) / 2
        sheet.text(at, middle, pause, canvas.DIM, rotation=90, ha="center", size=7)


def _bars(sheet: Sheet, of: Lanes, panel: Panel) -> None:
    held = [cut for bar in of.held if (cut := panel.cut(bar))]
    bottom = _TOP + len(LANES) * _LANE
    # A band of no width would not be seen.
    bands = [Box(left, _TOP, max(right, left + 1), bottom) for left, right in held]
    sheet.boxes(bands, canvas.BAND)
    top = _TOP + LANES.index(CALLER) * _LANE + 0.6 * _LANE
    for ended, color in ((True, canvas.LINK), (False, canvas.DIM)):
        cuts = [cut for bar in of.copies if bar.ended is ended and (cut := panel.cut(bar))]
        sheet.boxes([Box(left, top, right, top + 7) for left, right in cuts], color)


def _marks(sheet: Sheet, marks: Sequence[LaneEvent], panel: Panel) -> None:
    """A stroke for each event, and its name where there is room; reads above writes."""
    for number, lane in enumerate(LANES):
        here, top = [mark for mark in marks if mark.lane == lane], _TOP + number * _LANE
        if lane == DEVICE:
            reads = (panel.x(mark.at) for mark in here if mark.event in READS)
            writes = (panel.x(mark.at) for mark in here if mark.event not in READS)
            sheet.strokes(_upright(reads, top + 2, top + 12), canvas.LINK, 1.4)
            sheet.strokes(_upright(writes, top + 15, top + 25), canvas.ODD, 1.4)
            continue
        # Strokes on one pixel are one.
        at = sorted({round(panel.x(mark.at), 0) for mark in here})
        color = canvas.BAD if lane == QMP else canvas.TEXT
        sheet.strokes(_upright(at, top + 0.55 * _LANE, top + _LANE - 2), color, 1.2)
        if lane != KERNEL:
            _labels(sheet, here, panel, top + 0.3 * _LANE)


def _labels(sheet: Sheet, marks: Sequence[LaneEvent], panel: Panel, middle: float) -> None:
    free = panel.left
    for mark in marks:
        wide = len(mark.event) * _LETTER + 4
        at = min(panel.x(mark.at) - 1, panel.right - wide)
        if at >= free - 2:
            sheet.text(at, middle, mark.event, canvas.TEXT, size=6.8, gid="is-name")
            free = at + wide


def _axis(sheet: Sheet, panels: Sequence[Panel]) -> str:
    """A line with ticks below each panel; the unit of their numbers."""
    seconds = panels[-1].end - panels[0].start > _LONG
    scale = 1.0 if seconds else 1000.0
    bottom = _TOP + len(LANES) * _LANE
    for panel in panels:
        start, end = panel.start * scale, panel.end * scale
        steps = max(1, int((panel.right - panel.left) / _TICK))
        ticks = [
            each for each in MaxNLocator(steps).tick_values(start, end) if start <= each <= end
        ]
        line = [[(panel.left, bottom), (panel.right, bottom)]]
        at = [panel.x(each / scale) for each in ticks]
        sheet.strokes([*line, *_upright(at, bottom, bottom + 4)], canvas.DIM, 0.8)
        for each, x in zip(ticks, at, strict=True):
            sheet.text(x, bottom + 10, f"{each:g}", canvas.DIM, ha="center", size=7)
    return "s" if seconds else "ms"


def _upright(at: Iterable[float], top: float, bottom: float) -> list[list[tuple[float, float]]]:
    return [[(x, top), (x, bottom)] for x in at]


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds * 1000:.0f} ms"


def _words(of: Lanes) -> str:
    held = "".join(f"; held for {_span(bar.end - bar.start)}" for bar in of.held)
    return f"{len(of.marks)} events in {len(LANES)} lanes{held}"
