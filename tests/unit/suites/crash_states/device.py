# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that copies as it should, and logs what it wrote, without a guest."""

from collections.abc import Sequence
from pathlib import Path

from lab.copy.paths import find
from lab.copy.paths.base import CopyPath
from lab.crash.logfile import LogWriter
from lab.crash.marks import ACKNOWLEDGED, DURABLE, STARTED, LogMark
from lab.profile.load import load
from lab.suites.crash_states.copies import CopyOperation, CopyWorkload
from lab.suites.crash_states.plants import PLANTS
from lab.suites.crash_states.recording import LOG, OPERATIONS, CopyRecording, extract

RUN = 77
SIZE = 1 << 20


def path(profile: str = "nvme-copy") -> CopyPath:
    """The path of a profile that ships."""
    return find(load(profile), "nvme-copy")


def recorded(
    place: Path, plant: str = "", seed: int = 1, size: int = 384 << 10, profile: str = "nvme-copy"
) -> CopyRecording:
    """What such a device makes of a small workload, in the files of a run."""
    workload = CopyWorkload(size, 3, 8, seed)
    where = path(profile)
    operations = workload.draw(where, RUN)
    marks = _logged(place / "whole", operations, where.drive.log_sector)
    recording = CopyRecording(operations, marks, SIZE + size)
    count = marks[-1].position
    make = PLANTS[plant].make if plant else None
    extract(place / "whole", 0, count, place / LOG, recording, make)
    (place / OPERATIONS).write_text(recording.text())
    return recording


def _logged(log: Path, operations: Sequence[CopyOperation], sector: int) -> list[LogMark]:
    marks: list[LogMark] = []
    at = 0
    unflushed: list[int] = []
    with LogWriter(log, sector) as sink:
        for operation in operations:
            marks.append(LogMark(STARTED, operation.number, at, 0.0))
            for source, target in operation.layout.copy.pieces():
                data = b"".join(map(operation.tagging.sector, source))
                sink.write(target.start * 512, data)
                at += 1
            marks.append(LogMark(ACKNOWLEDGED, operation.number, at, 0.0))
            unflushed.append(operation.number)
            if operation.flushed:
                sink.flush()
                at += 1
                marks += [LogMark(DURABLE, number, at, 0.0) for number in unflushed]
                unflushed = []
    return marks
