# SPDX-License-Identifier: GPL-2.0-or-later
"""States that a guest cannot tell apart: they differ in nothing that it has read.

What a guest finds in a state is made of what it reads from the disk, and of nothing else.  While it
looks at one, QEMU traces the commands that its disk gets, and so it is known which sectors the
guest has read before it wrote to them itself.  Another state that holds the same in these sectors
would be answered alike, step by step: the guest would read the same, and therefore go on to read
the next.  Such a state is not given to a guest; what was found in the first is judged for it, by
what had been promised at its own moment.  So go blocks of a log that has no commit yet, and what
replaying the log writes anew.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.crash.epochs import Epoch
from lab.crash.logfile import WriteLog
from lab.crash.states import CrashState
from lab.crash.walk import made_durable
from lab.vm import trace

READ, WRITE = "scsi_disk_dma_command_READ", "scsi_disk_dma_command_WRITE"
"""The trace events of what QEMU's SCSI disks are asked for; they do not say which disk it is, and
count in its logical blocks (hw/scsi/scsi-disk.c, scsi_disk_dma_command)."""

_ARGUMENTS = re.compile(r".*\(sector (\d+), count (\d+)\)")


def read_of(lines: Iterable[trace.TraceLine], disks: int, each: int) -> frozenset[int]:
    """The sectors of a medium that a guest has read before it wrote to them; of the medium of
    several disks of `each` sectors those that it may have: which disk it was is not told.

    Sectors are as long as the disks' logical blocks.  Raises HostError.
    """
    if disks == 1:
        return frozenset(first_read(lines))
    # What was written to one disk may have been read from another.
    sectors = set(first_read(line for line in lines if line.event == READ))
    return frozenset(sector + each * disk for sector in sectors for disk in range(disks))


def first_read(lines: Iterable[trace.TraceLine]) -> Iterator[int]:
    """The sectors that are read and were not written before.  Raises HostError."""
    written: set[int] = set()
    for line in lines:
        if line.event not in (READ, WRITE):
            continue
        said = _ARGUMENTS.fullmatch(line.arguments)
        if said is None:
            raise trace.unreadable(f"{line.event} {line.arguments}")
        sectors = range(int(said[1]), int(said[1]) + int(said[2]))
        if line.event == WRITE:
            written.update(sectors)
        else:
            yield from (sector for sector in sectors if sector not in written)


class StateContents:
    """What each state of a log holds, by sector, as small numbers: equal ones are equal bytes.

    Only of sectors that the log writes; all others are the same in every state.
    """

    def __init__(self, log: WriteLog, base: Path) -> None:
        self._log = log
        self._numbers: dict[bytes, int] = {}
        self._entries: dict[int, list[int]] = {}
        self._durable: dict[int, int] = {}
        with base.open("rb", buffering=0) as file:
            for entry in log:
                first = entry.offset // log.sector
                for sector in range(first, first + entry.length // log.sector):
                    if sector not in self._durable:
                        data = os.pread(file.fileno(), log.sector, sector * log.sector)
                        self._durable[sector] = self._number(data.ljust(log.sector, b"\0"))

    def _number(self, data: bytes) -> int:
        return self._numbers.setdefault(data, len(self._numbers))

    def _written(self, epoch: Epoch, number: int) -> tuple[int, list[int]]:
        """The first sector of a write, and what it holds in each of its sectors."""
        entry, unit = epoch[number], self._log.sector
        if entry.index not in self._entries:
            data = self._log.data(entry)
            self._entries[entry.index] = [
                self._number(data[at : at + unit]) for at in range(0, len(data), unit)
            ]
        return entry.offset // unit, self._entries[entry.index]

    def of(self, epoch: Epoch, state: CrashState) -> dict[int, int]:
        """What a state of the epoch that was reached holds."""
        found = dict(self._durable)
        lost, torn = frozenset(state.lost), dict(state.torn)
        for number in range(state.written):
            if number not in lost:
                start, numbers = self._written(epoch, number)
                found.update(enumerate(numbers[: torn.get(number)], start))
        return found

    def end(self, epoch: Epoch) -> None:
        """The end of the epoch that was reached has made durable what it does; the next begins."""
        self._durable = self.of(epoch, made_durable(epoch))


@dataclass
class Looks:
    """What a guest found in the states that it was given, by what it has read of each."""

    _looks: list[tuple[dict[int, int], dict[str, Any]]] = field(default_factory=list)

    def add(self, content: Mapping[int, int], read: frozenset[int], answer: dict[str, Any]) -> None:
        """A guest has read these sectors of a state that holds this, and found that."""
        self._looks.append(({at: content[at] for at in read if at in content}, answer))

    def find(self, content: Mapping[int, int]) -> dict[str, Any] | None:
        """What a guest would find in a state; None where that is not known."""
        for held, answer in self._looks:
            if all(content[at] == number for at, number in held.items()):
                return answer
        return None
