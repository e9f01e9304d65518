# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the logged writes outlives a power cut: all, none or some of the volatile cache."""

from collections.abc import Sequence
from random import Random

from lab.copy.model import SECTOR, Copy
from lab.crash import writelog
from lab.crash.writelog import LogEntry
from lab.faults.model import Point


def all_of(_copy: Copy, _point: Point, entries: list[LogEntry]) -> Sequence[LogEntry]:
    """All of the cache survives."""
    return entries


def durable(_copy: Copy, _point: Point, entries: list[LogEntry]) -> Sequence[LogEntry]:
    """Nothing of the cache survives."""
    return writelog.durable(entries)


def some(copy: Copy, point: Point, entries: list[LogEntry]) -> Sequence[LogEntry]:
    """So much of the cache survives, in the order of the log, as is drawn from the case itself, so
    that the same case keeps the same."""
    block = copy.unit * SECTOR
    blocks = sum(entry.length for entry in writelog.cached(entries)) // block
    drawn = Random(f"{point} {copy}").randint(0, blocks)
    return writelog.kept_up_to(entries, drawn * block)
