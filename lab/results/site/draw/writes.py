# SPDX-License-Identifier: GPL-2.0-or-later
"""A write log as a picture: epochs as bands, writes by place and order, marks, and the cut."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from lab.results.site.draw import canvas
from lab.results.site.draw.canvas import Box, Sheet, drawing, inline

_WIDTH, _LEFT, _RIGHT, _TOP, _FOOT = 720.0, 84.0, 12.0, 44.0, 40.0
_LEAST, _MOST = 90.0, 320.0
"""Pixels of the medium's height, with few writes and with many."""
_ROW = 7.0
_GAP = 1 << 16
"""Bytes that nothing writes from which on they are left out of the picture."""
_SPARE = 4.0
"""Pixels for what was left out."""
_FLUSH, _FUA = 1, 2
"""Flags of a log's entry, as dm-log-writes has them."""
_LETTER = 4.6


@dataclass(frozen=True)
class _Place:
    """A stretch of the medium that is written, in bytes, and where it is in the picture."""

    start: int
    end: int
    top: float
    bottom: float


def picture(failure: Mapping[str, Any]) -> Markup:
    """The log around the cut of a failure; empty where its run did not keep that."""
    log = failure.get("log")
    if not log or not log["entries"]:
        return Markup()
    with drawing():
        return _Drawn(failure["loss"], log).made()


class _Drawn:
    """A picture while it is drawn."""

    def __init__(self, loss: Mapping[str, Any], log: Mapping[str, Any]) -> None:
        self._entries: list[tuple[int, int, int, int]] = [tuple(each) for each in log["entries"]]
        self._marks = log["marks"]
        self._cut = int(loss["cut"])
        self._ahead = int(loss["ahead"])
        self._lost = set(loss["lost"])
        self._torn = {int(index): int(size) for index, size in loss["torn"]}
        self._first, self._last = self._entries[0][0], self._entries[-1][0] + 1
        writes = [(start, start + length) for _, start, length, _ in self._entries if length]
        self._height, self._places = _places(writes)
        self._bottom = _TOP + self._height
        self._sheet = Sheet(_WIDTH, self._bottom + _FOOT)

    def made(self) -> Markup:
        """The picture."""
        epochs = self._epochs()
        self._sheet.boxes(
            [Box(self._x(start), _TOP, self._x(end), self._bottom) for start, end in epochs[::2]],
            canvas.PANEL,
        )
        for color, boxes in self._writes().items():
            self._sheet.boxes(boxes, color)
        self._words()
        cut = self._x(self._cut)
        self._sheet.strokes([[(cut, _TOP - 8), (cut, self._bottom + 6)]], canvas.BAD, 1.6)
        right = cut > _WIDTH / 2
        self._sheet.text(
            cut + (-4 if right else 4),
            self._bottom + 10,
            f"power lost after {self._cut} entries",
            canvas.BAD,
            ha="right" if right else "left",
            size=7,
        )
        said = f"{len(epochs)} epochs, {len(self._lost)} writes lost, {len(self._torn)} torn"
        return inline(self._sheet.figure, f"write log around a power cut: {said}", "lanes")

    def _x(self, entry: float) -> float:
        """Where an entry begins."""
        room = _WIDTH - _LEFT - _RIGHT
        return _LEFT + (entry - self._first) / (self._last - self._first) * room

    def _epochs(self) -> list[tuple[int, int]]:
        """First and last entry of each stretch between flushes."""
        ends = [index + 1 for index, _, _, flags in self._entries if flags & _FLUSH]
        edges = [self._first, *ends, self._last]
        return [(one, other) for one, other in pairwise(edges) if one < other]

    def _writes(self) -> dict[str, list[Box]]:
        """The writes by what became of them."""
        found: dict[str, list[Box]] = {
            canvas.DIM: [], canvas.NEW: [], canvas.ODD: [], canvas.FOREIGN: [], canvas.TORN: [],
        }  # fmt: skip
        for index, start, length, flags in self._entries:
            if not length:
                continue
            left, right = self._x(index), max(self._x(index + 1) - 0.4, self._x(index) + 1.2)
            if index >= self._cut + self._ahead:
                color = canvas.DIM
            elif index in self._lost:
                color = canvas.FOREIGN
            elif index in self._torn:
                color = canvas.TORN
            else:
                color = canvas.ODD if flags & _FUA else canvas.NEW
            top, bottom = self._y(start), self._y(start + length)
            found[color].append(Box(left, top, right, max(bottom, top + 1.5)))
        return found

    def _y(self, at: int) -> float:
        for place in self._places:
            if place.start <= at <= place.end:
                part = (at - place.start) / (place.end - place.start)
                return place.top + part * (place.bottom - place.top)
        return self._bottom

    def _words(self) -> None:
        """Places at the left, marks above, entries below."""
        free = 0.0
        for place in self._places:
            if place.top >= free:
                self._sheet.text(
                    _LEFT - 6, place.top + 3, _size(place.start), canvas.DIM, ha="right", size=7
                )
                free = place.top + 11
        for words, x, row in self._rows():
            self._sheet.strokes([[(x, 8 + 10 * row), (x, _TOP)]], canvas.DIM, 0.7)
            self._sheet.text(x + 2, 6 + 10 * row, words, canvas.TEXT, size=6.8)
        for at in (self._first, self._last):
            self._sheet.text(
                self._x(at),
                self._bottom + 24,
                f"entry {at}",
                canvas.DIM,
                size=7,
                ha="left" if at == self._first else "right",
            )

    def _rows(self) -> Iterator[tuple[str, float, int]]:
        """Marks in the first row where there is room for each, as far as there is."""
        free = [0.0] * 4
        for position, words in self._marks:
            x, wide = self._x(position), len(words) * _LETTER + 6
            for row, least in enumerate(free):
                if x >= least:
                    yield words, min(x, _WIDTH - wide), row
                    free[row] = x + wide
                    break


def _places(writes: Sequence[tuple[int, int]]) -> tuple[float, list[_Place]]:
    """The height of all that is written, and each stretch of it."""
    stretches: list[list[int]] = []
    for start, end in sorted(writes):
        if stretches and start <= stretches[-1][1] + _GAP:
            stretches[-1][1] = max(stretches[-1][1], end)
        else:
            stretches.append([start, end])
    height = min(_MOST, max(_LEAST, 2 * _ROW * len(stretches)))
    room = height - _SPARE * (len(stretches) - 1)
    # A single block must be seen beside a log of megabytes.
    weights = [(end - start) ** 0.4 for start, end in stretches]
    found, top = [], _TOP
    for (start, end), weight in zip(stretches, weights, strict=True):
        bottom = top + room * weight / sum(weights)
        found.append(_Place(start, end, top, bottom))
        top = bottom + _SPARE
    return height, found


def _size(at: int) -> str:
    return f"{at / 2**20:.2f} MiB" if at else "0"
