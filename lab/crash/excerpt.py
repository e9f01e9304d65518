# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of a write log around a power cut, as a picture of it needs it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.crash.logfile import WriteLog
from lab.crash.marks import LogMark
from lab.crash.writelog import Flag

BEFORE, AFTER = 600, 100
"""Entries before and behind the cut that are shown at most."""


@dataclass(frozen=True)
class LogExcerpt:
    """Entries of a log around a cut, in their order, with the marks among them.

    `entries`: of each its number, first byte and length on the medium (no length: a flush alone),
    and its flags as in the log.  `marks`: a position, and words.
    """

    entries: Sequence[tuple[int, int, int, int]]
    marks: Sequence[tuple[int, str]]
    left_out: int
    """Entries before the first that is shown."""

    @classmethod
    def of(cls, log: WriteLog, cut: int, marks: Sequence[tuple[LogMark, str]]) -> "LogExcerpt":
        """That around a cut; each mark with what it is to be called."""
        found: deque[tuple[int, int, int, int]] = deque(maxlen=BEFORE + AFTER)
        for entry in log:
            if entry.index >= cut + AFTER:
                break
            if not entry.flags & Flag.MARK:
                found.append((entry.index, entry.offset, entry.length, int(entry.flags)))
        first = found[0][0] if found else 0
        last = found[-1][0] + 1 if found else 0
        return cls(
            list(found),
            [(mark.position, said) for mark, said in marks if first <= mark.position <= last],
            first,
        )

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "entries": [list(each) for each in self.entries],
            "marks": [list(each) for each in self.marks],
            "left_out": self.left_out,
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "LogExcerpt":
        """The excerpt of such a JSON.  Raises KeyError or TypeError."""
        return cls(
            [tuple(each) for each in document["entries"]],
            [(position, said) for position, said in document["marks"]], document["left_out"],
        )  # fmt: skip
