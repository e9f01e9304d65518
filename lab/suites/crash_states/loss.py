# SPDX-License-Identifier: GPL-2.0-or-later
"""What a power cut lost, by entries of the whole log: a state as it is kept, shown and replayed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.crash.logfile import WriteLog
from lab.crash.walk import DistinctState
from lab.crash.writelog import Flag, LogEntry

_PIECE = 1 << 20


@dataclass(frozen=True)
class PowerLoss:
    """Power was lost when the log had `cut` entries: those in `lost` are not there, and of those in
    `torn` only so many bytes."""

    cut: int
    lost: tuple[int, ...] = ()
    torn: tuple[tuple[int, int], ...] = ()
    ahead: int = 0
    """Entries behind the cut that were under way: 1 where one with FUA was, else 0."""

    @classmethod
    def of(cls, found: DistinctState, sector: int) -> "PowerLoss":
        """The loss that a state of an epoch is."""
        epoch, state = found.epoch, found.state
        indices = [epoch[number].index for number in range(state.written)]
        return cls(
            state.cut,
            tuple(indices[number] for number in state.lost),
            tuple((indices[number], units * sector) for number, units in state.torn),
            int(bool(indices) and indices[-1] >= state.cut),
        )

    def possible(self, log: WriteLog) -> bool:
        """Whether the log allows it: what it lost or tore was neither flushed by its own device nor
        had FUA, unless that was still under way."""
        hit = {*self.lost, *(index for index, _ in self.torn)}
        gone: set[int] = set()
        """Devices that have lost something so far."""
        for entry in log:
            if entry.index >= self.cut:
                break
            if entry.is_flush and log.device(entry) in gone:
                return False
            if entry.index in hit:
                if entry.flags & Flag.FUA:
                    return False
                gone.add(log.device(entry))
        return True

    def survivors(self, log: WriteLog) -> Iterator[tuple[LogEntry, int]]:
        """The writes that are there, in order, and how many bytes of each."""
        torn = dict(self.torn)
        for entry in log:
            if entry.index >= self.cut + self.ahead:
                return
            if entry.length and not entry.flags & Flag.MARK and entry.index not in self.lost:
                yield entry, torn.get(entry.index, entry.length)

    def apply(self, log: WriteLog, medium: Path) -> None:
        """Write to a medium, which is as it was when the log began, what is there.

        Raises OSError.
        """
        with medium.open("r+b", buffering=0) as file:
            for entry, length in self.survivors(log):
                for at in range(0, length, _PIECE):
                    data = log.data(entry, at, min(_PIECE, length - at))
                    os.pwrite(file.fileno(), data, entry.offset + at)

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "cut": self.cut,
            "lost": list(self.lost),
            "torn": [list(each) for each in self.torn],
            "ahead": self.ahead,
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "PowerLoss":
        """The loss of such a JSON.  Raises KeyError, TypeError or ValueError."""
        torn = tuple((int(index), int(length)) for index, length in document["torn"])
        lost = tuple(map(int, document["lost"]))
        return cls(int(document["cut"]), lost, torn, int(document["ahead"]))

    def __str__(self) -> str:
        said = [f"power lost after {self.cut} log entries"]
        if self.lost:
            said.append(f"lost: {', '.join(map(str, self.lost))}")
        if self.torn:
            said.append(f"torn: {', '.join(f'{at} after {size} bytes' for at, size in self.torn)}")
        return "; ".join(said)
