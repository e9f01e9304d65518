# SPDX-License-Identifier: GPL-2.0-or-later
"""A workload as it was recorded: what was done, when that was known, and what the device got."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.crash.logfile import LogWriter, WriteLog
from lab.crash.marks import ACKNOWLEDGED, DURABLE, STARTED, LogMark
from lab.crash.writelog import Flag, LogEntry
from lab.errors import UsageError
from lab.foreign import decoded
from lab.suites.crash_states.copies import CopyOperation

LOG, OPERATIONS = "write-log", "operations.json"
"""In the run's directory."""

Logged = tuple[LogEntry, bytes]
"""An entry of a log, and its data."""

Plant = Callable[[Sequence[Logged], "CopyRecording"], Iterable[Logged]]
"""Makes of what was logged what a device with a defect would have, with as many entries."""


@dataclass(frozen=True)
class CopyRecording:
    """Copies, the marks that were set, and the medium's size in bytes; positions are those of the
    log beside it, which begins with the workload."""

    operations: Sequence[CopyOperation]
    marks: Sequence[LogMark]
    size: int

    @cached_property
    def windows(self) -> frozenset[int]:
        """The sectors of all windows: no others are to change."""
        return frozenset(at for each in self.operations for at in each.layout.window)

    def span(self, operation: int) -> range:
        """The log's entries between the start of an operation and its acknowledgement."""
        found = {mark.event: mark.position for mark in self.marks if mark.operation == operation}
        return range(found[STARTED], found.get(ACKNOWLEDGED, found[STARTED]))

    def acknowledged(self, cut: int) -> frozenset[int]:
        """The operations whose callers had been told of success at a cut."""
        return self._known(ACKNOWLEDGED, cut)

    def durable(self, cut: int) -> frozenset[int]:
        """Those that must outlive a power cut then."""
        return self._known(DURABLE, cut)

    def _known(self, event: str, cut: int) -> frozenset[int]:
        return frozenset(
            mark.operation
            for mark in self.marks
            if mark.event == event and mark.position <= cut
        )  # fmt: skip

    def text(self) -> str:
        """Its JSON."""
        document = {
            "size": self.size,
            "operations": [operation.document() for operation in self.operations],
            "marks": [mark.document() for mark in self.marks],
        }
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def load(cls, directory: Path) -> "CopyRecording":
        """That of a run.  Raises UsageError where there is none."""
        try:
            document = decoded((directory / OPERATIONS).read_text())
            return cls(
                [CopyOperation.read(each) for each in document["operations"]],
                [LogMark.read(each) for each in document["marks"]],
                int(document["size"]),
            )
        except (
            OSError, ArithmeticError, ValueError, LookupError, TypeError, AttributeError
        ) as error:  # fmt: skip
            raise UsageError(f"{directory / OPERATIONS}: no recording: {error}") from error

    def base(self, medium: Path) -> None:
        """Make the medium as it was before the workload.  Raises OSError."""
        with medium.open("wb") as file:
            file.truncate(self.size)
            for operation in self.operations:
                file.seek(operation.layout.window.start * 512)
                file.write(operation.tagging.data())


def extract(source: Path, start: int, end: int, target: Path, recording: CopyRecording,
            plant: Plant | None = None) -> None:  # fmt: skip
    """Write the entries of a log from number `start` to before `end` to a log of their own, as a
    device with a planted defect would have had them, if one is given.  Raises HostError and
    OSError."""
    with WriteLog(source) as log:
        chosen = (entry for entry in log if start <= entry.index < end)
        logged: Iterable[Logged] = ((entry, log.data(entry)) for entry in chosen)
        rewrite(plant(list(logged), recording) if plant else logged, target, log.sector)


def rewrite(logged: Iterable[Logged], target: Path, sector: int) -> None:
    """Write a log of these entries.  Raises OSError."""
    with LogWriter(target, sector) as sink:
        for entry, data in logged:
            if entry.flags & Flag.DISCARD:
                sink.discard(entry.offset, entry.length)
            elif entry.flags & Flag.MARK:
                sink.mark(data.decode())
            elif entry.length:
                sink.write(entry.offset, data, entry.flags)
            else:
                sink.write(entry.offset, b"", entry.flags)
