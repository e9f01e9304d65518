# SPDX-License-Identifier: GPL-2.0-or-later
"""A workload on a file system, recorded."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.crash.logfile import WriteLog, position
from lab.crash.marks import ACKNOWLEDGED, DURABLE, STARTED, LogMark, mark
from lab.errors import UsageError
from lab.foreign import decoded
from lab.host.clone import clone
from lab.suites.crash_states.fs.bench import FsBench
from lab.suites.crash_states.fs.history import CrashMoment
from lab.suites.crash_states.fs.kinds import FileSystemKind
from lab.suites.crash_states.fs.plants import GOOD, FsPlant
from lab.suites.crash_states.fs.tree import Tree, differences, seen
from lab.suites.crash_states.fs.workload import FsWorkload
from lab.suites.crash_states.recording import LOG, Logged, rewrite

WORKLOAD, BASE = "workload.json", "base-{}-{}"
"""What a run keeps of a workload that failed: beside its log, and for each file system and each
setup."""


@dataclass(frozen=True)
class FsRecording:
    """What the disk got while a workload ran, from the mount to the unmount.

    `base` is the medium before; `marks`: each step began, and had returned.
    """

    workload: FsWorkload
    log: Path
    base: Path
    marks: tuple[LogMark, ...]
    unlike: tuple[str, ...]
    """Where the file system, without any crash, was not as POSIX has it."""

    @property
    def start(self) -> int:
        """How many entries the log had when the first step was asked for."""
        return self.marks[0].position

    def levels(self) -> list[LogMark]:
        """Marks at the first cuts at which a step has begun, or has returned."""
        # A cut at the very position where it was about to begin is none in which it has begun.
        return [
            LogMark(DURABLE, each.operation, each.position + (each.event == STARTED), 0.0)
            for each in self.marks
        ]

    def moment(self, cut: int) -> CrashMoment:
        """How far the workload had come at a cut."""
        done = sum(each.event == ACKNOWLEDGED and each.position <= cut for each in self.marks)
        begun = sum(each.event == STARTED and each.position < cut for each in self.marks)
        # A step that wrote nothing has begun and returned at one position.
        return CrashMoment(max(begun, done), done)


def record(
    bench: FsBench, kind: FileSystemKind, medium: Path, workload: FsWorkload, plant: FsPlant = GOOD
) -> FsRecording:
    """Carry a workload out on a copy of a medium.  Raises StepRefused, GuestLost and LabError."""
    copy, log = bench.path("medium"), bench.path("log")
    clone(medium, copy)
    bench.put(copy, log)
    bench.mount(kind, plant.options)
    bench.must(op="do", step={"do": "sync"})
    marks: list[LogMark] = []
    for number, step in enumerate(workload.steps, 1):
        marks.append(mark(STARTED, number, position(log)))
        if step["do"] not in plant.forgets:
            bench.carry_out(step)
        marks.append(mark(ACKNOWLEDGED, number, position(log)))
    walked = bench.ask(op="walk")
    bench.must(op="umount")
    if plant.log:
        log = _planted(log, bench.path("planted"), plant.log)
    copy.unlink()
    history = workload.history
    unlike = _unlike(walked, history.after) if history else ()
    return FsRecording(workload, log, medium, tuple(marks), unlike)


def _planted(
    source: Path, target: Path, make: Callable[[Sequence[Logged]], Iterable[Logged]]
) -> Path:
    """The log as a device with a defect would have it."""
    with WriteLog(source) as log:
        rewrite(make([(entry, log.data(entry)) for entry in log]), target, log.sector)
    source.unlink()
    return target


def load(directory: Path, bases: Path, kind: FileSystemKind) -> FsRecording:
    """The recording that a run kept of a workload that failed; `bases` has the media before.

    Raises UsageError.
    """
    try:
        document = decoded((directory / WORKLOAD).read_text())
        workload = FsWorkload.read(document)
        marks = tuple(LogMark.read(each) for each in document["marks"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{directory / WORKLOAD}: no workload: {error}") from error
    medium = bases / base_name(kind, workload)
    return FsRecording(workload, directory / LOG, medium, marks, ())


def failure_place(directory: Path, section: str, name: str, number: int) -> Path:
    """Where a run keeps a failure of a workload on a file system."""
    return directory / "cases" / section / name / str(number)


def base_name(kind: FileSystemKind, workload: FsWorkload) -> str:
    """What a run calls the medium that a workload begins with."""
    return BASE.format(kind.name, workload.base[:12])


def _unlike(walked: dict[str, Any], after: Tree) -> tuple[str, ...]:
    names, unreadable = seen(walked["names"])
    return (*unreadable, *differences(names, after))
