# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a copy can be interrupted: points."""

import re
from dataclasses import dataclass
from enum import StrEnum

from lab.errors import UsageError


class Stage(StrEnum):
    """How far the k-th range, or the whole copy, has come at a point."""

    READ = "read"
    WRITE = "write"
    WRITTEN = "written"
    COMPLETED = "completed"
    FLUSHED = "flushed"


PER_RANGE = (Stage.READ, Stage.WRITE, Stage.WRITTEN)
"""Stages at which a request is held."""
_PER_COPY = (Stage.COMPLETED, Stage.FLUSHED)


@dataclass(frozen=True)
class Point:
    """One moment in a copy.

    `read:k`: the k-th read is about to reach the medium; `write:k`: the k-th write is;
    `written:k`: it has, and is not acknowledged; k counts from 1.  `completed`: success was
    reported and nothing flushed; `flushed`: a flush has completed as well.  The last two have
    no k and only mean something to actions that end the guest.
    """

    stage: Stage
    k: int = 0

    def __str__(self) -> str:
        return f"{self.stage}:{self.k}" if self.k else str(self.stage)

    def order(self) -> tuple[int, int, int]:
        """Sorts points as a copy comes to them that reads and writes range by range."""
        if self.k:
            return (0, self.k, PER_RANGE.index(self.stage))
        return (1, 0, _PER_COPY.index(self.stage))

    @classmethod
    def parse(cls, text: str) -> "Point":
        """Read `write:3` or `flushed`.  Raises UsageError when it is neither."""
        match = re.fullmatch(r"(read|write|written):([1-9][0-9]{0,5})|(completed|flushed)", text)
        if not match:
            raise UsageError(
                f"point {text!r}: no such point",
                hint="expected read:K, write:K, written:K with K from 1, completed or flushed",
            )
        stage, k, whole = match.groups()
        return cls(Stage(whole)) if whole else cls(Stage(stage), int(k))


REHEARSED = Point(Stage.COMPLETED)
"""Where a copy without any fault comes to."""


def ranges_written(point: Point) -> int:
    """How many ranges are on the medium while a copy is held at a point `read`, `write` or
    `written`."""
    return point.k if point.stage is Stage.WRITTEN else point.k - 1


def points_of(ranges: int) -> list[Point]:
    """Every point of a copy of `ranges` ranges, in the order in which they are reached."""
    held = [Point(stage, k) for k in range(1, ranges + 1) for stage in PER_RANGE]
    return held + [Point(stage) for stage in _PER_COPY]
