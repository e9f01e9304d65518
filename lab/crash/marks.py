# SPDX-License-Identifier: GPL-2.0-or-later
"""Marks: what the host knew when, tied to positions of the write log.

All on the host and by its clock: when the host is told of something (a copy is acknowledged, a
flush is complete, fsync has returned) the write log has `position` entries, so that a power cut at
that cut or later came after it.  What the host is about to ask for has begun at no earlier cut than
that position.  The guest adds nothing to it, and its clock does not matter.
"""

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LogMark:
    """`event` of operation number `operation`, known to the host when the log had `position`
    entries; `at` is CLOCK_MONOTONIC in seconds."""

    event: str
    operation: int
    position: int
    at: float

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "event": self.event,
            "operation": self.operation,
            "position": self.position,
            "at": round(self.at, 6),
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "LogMark":
        """The mark of such a JSON.  Raises KeyError, TypeError or ValueError where it is none."""
        return cls(
            str(document["event"]), int(document["operation"]), int(document["position"]),
            float(document["at"]),
        )  # fmt: skip


STARTED, ACKNOWLEDGED, DURABLE = "started", "acknowledged", "durable"
"""Events of an operation: it is about to be asked for; its caller was told success; and has been
promised since that it outlives a power cut."""


def mark(event: str, operation: int, position: int) -> LogMark:
    """A mark that is set now."""
    return LogMark(event, operation, position, time.monotonic())


class Levels:
    """What had been promised, by cut: a number that grows with each mark of the given event."""

    def __init__(self, marks: Sequence[LogMark], event: str) -> None:
        chosen = sorted(
            (mark for mark in marks if mark.event == event), key=lambda mark: mark.position
        )
        self._positions = [mark.position for mark in chosen]
        self._operations = [mark.operation for mark in chosen]

    @property
    def count(self) -> int:
        """The last level."""
        return len(self._positions)

    def at(self, cut: int) -> int:
        """How many of these marks stand at the cut or before."""
        return bisect_right(self._positions, cut)

    def operations(self, level: int) -> frozenset[int]:
        """The operations of the first so many."""
        return frozenset(self._operations[:level])
