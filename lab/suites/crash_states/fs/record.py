# SPDX-License-Identifier: GPL-2.0-or-later
"""A workload on a file system, recorded."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.crash.logfile import WriteLog, position
from lab.crash.marks import DURABLE, STARTED, LogMark, mark
from lab.errors import UsageError
from lab.host.clone import clone
from lab.suites.crash_states.fs.ace import FsWorkload, base
from lab.suites.crash_states.fs.bench import FsBench
from lab.suites.crash_states.fs.kinds import FileSystemKind
from lab.suites.crash_states.fs.plants import GOOD, FsPlant
from lab.suites.crash_states.fs.posix import Promise
from lab.suites.crash_states.fs.tree import Tree, differences, seen
from lab.suites.crash_states.recording import LOG, Logged, rewrite

WORKLOAD, BASE = "workload.json", "base-{}"
"""What a run keeps of a workload that failed: beside its log, and for each file system."""


@dataclass(frozen=True)
class FsRecording:
    """What the disk got while a workload ran, from the mount to the unmount.

    `base` is the medium before; `marks`: the operation began, and was made durable.
    """

    workload: FsWorkload
    log: Path
    base: Path
    marks: tuple[LogMark, ...]
    before: Tree
    after: Tree
    unlike: tuple[str, ...]
    """Where the file system, without any crash, was not as POSIX has it."""

    @property
    def start(self) -> int:
        """How many entries the log had when the operation was asked for."""
        return self.marks[0].position

    def levels(self) -> list[LogMark]:
        """Marks at the first cuts that come after each."""
        # A cut at the very position where it was about to begin is none in which it has begun.
        begun = LogMark(DURABLE, 1, self.start + 1, 0.0)
        return [begun, *(each for each in self.marks if each.event == DURABLE)]

    def promise(self, cut: int) -> Promise:
        """What had been done and promised at a cut."""
        durable = any(each.event == DURABLE and each.position <= cut for each in self.marks)
        return Promise(cut > self.start, self.workload.sync if durable else None)


class StepRefused(Exception):
    """The file system does not offer an operation, and said so."""


def record(
    bench: FsBench, kind: FileSystemKind, medium: Path, workload: FsWorkload, plant: FsPlant = GOOD
) -> FsRecording:
    """Carry a workload out on a copy of a medium.  Raises StepRefused, GuestLost and LabError."""
    copy, log = bench.path("medium"), bench.path("log")
    clone(medium, copy)
    bench.put(copy, log)
    bench.mount(kind, plant.options)
    bench.must(op="do", step={"do": "sync"})
    marks = [mark(STARTED, 1, position(log))]
    answer = bench.ask(op="do", step=dict(workload.step))
    if answer["errno"]:
        bench.must(op="umount")
        raise StepRefused(answer["said"])
    if workload.sync:
        if workload.sync["do"] not in plant.forgets:
            bench.must(op="do", step=dict(workload.sync))
        marks.append(mark(DURABLE, 1, position(log)))
    walked = bench.ask(op="walk")
    bench.must(op="umount")
    if plant.log:
        log = _planted(log, bench.path("planted"), plant.log)
    before = base()
    after = before.after(workload.step)
    copy.unlink()
    return FsRecording(
        workload, log, medium, tuple(marks), before, after, _unlike(walked, after)
    )  # fmt: skip


def _planted(
    source: Path, target: Path, make: Callable[[Sequence[Logged]], Iterable[Logged]]
) -> Path:
    """The log as a device with a defect would have it."""
    with WriteLog(source) as log:
        rewrite(make([(entry, log.data(entry)) for entry in log]), target, log.sector)
    source.unlink()
    return target


def load(directory: Path, medium: Path) -> FsRecording:
    """The recording that a run kept of a workload that failed.  Raises UsageError."""
    try:
        document = json.loads((directory / WORKLOAD).read_text())
        workload = FsWorkload(document["name"], document["step"], document["sync"])
        marks = tuple(LogMark.read(each) for each in document["marks"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{directory / WORKLOAD}: no workload: {error}") from error
    before = base()
    return FsRecording(
        workload, directory / LOG, medium, marks, before, before.after(workload.step), ()
    )


def _unlike(walked: dict[str, Any], after: Tree) -> tuple[str, ...]:
    names, unreadable = seen(walked["names"])
    return (*unreadable, *differences(names, after))
