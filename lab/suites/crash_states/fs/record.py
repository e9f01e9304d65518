# SPDX-License-Identifier: GPL-2.0-or-later
"""A workload on a file system, recorded."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.crash import joint
from lab.crash.logfile import WriteLog, position
from lab.crash.marks import ACKNOWLEDGED, DURABLE, STARTED, LogMark
from lab.errors import UsageError
from lab.foreign import decoded
from lab.host.clone import clone
from lab.suites.crash_states.fs.bench import FsBench
from lab.suites.crash_states.fs.history import CrashMoment, Step
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
    """What the disks got while a workload ran, from the mount to the unmount.

    `base` is the medium before; `marks`: each step began, and had returned; `region`: the bytes of
    it that each of several disks has.
    """

    workload: FsWorkload
    log: Path
    base: Path
    marks: tuple[LogMark, ...]
    unlike: tuple[str, ...]
    """Where the file system, without any crash, was not as POSIX has it."""
    region: int = 0

    def open(self) -> WriteLog:
        """Its log, to be used in a `with` block.  Raises HostError."""
        return WriteLog(self.log, self.region)

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
    copy = bench.path("medium")
    logs = [bench.path("log") for _ in range(kind.disks)]
    clone(medium, copy)
    # A single log has an order of its own.
    with bench.trace.of_files() if kind.disks > 1 else nullcontext():
        bench.put(kind, copy, logs)
        if kind.disks > 1:
            bench.ring(kind, copy)
        bench.cache(kind, volatile=not plant.uncached)
        bench.mount(kind, plant.options)
        bench.must(op="do", step={"do": "sync"})
        told = list(_carried_out(bench, kind, workload, plant, logs))
        walked = bench.ask(op="walk")
        bench.umount(kind)
        log, devices = _joined(bench, kind, logs)
    if plant.log:
        log = _planted(log, bench.path("planted"), plant.log)
    copy.unlink()
    unlike = _unlike(walked, workload.history.after) if workload.history else ()
    marks = tuple(each.mark(devices) for each in told)
    return FsRecording(workload, log, medium, marks, unlike, kind.region)


def _carried_out(
    bench: FsBench, kind: FileSystemKind, workload: FsWorkload, plant: FsPlant, logs: Sequence[Path]
) -> Iterator["_Told"]:
    """Carry out the steps; what is known before and after each."""
    late: list[Step] = []
    for number, step in enumerate(workload.steps, 1):
        yield _Told(STARTED, number, _counts(logs), time.monotonic())
        before = workload.history.trees[number - 1] if workload.history else Tree()
        planted = plant.asked(step, before)
        for each in planted.now:
            bench.carry_out(kind, each)
        late += planted.late
        yield _Told(ACKNOWLEDGED, number, _counts(logs), time.monotonic())
    for step in late:
        bench.carry_out(kind, step)


@dataclass(frozen=True)
class _Told:
    """What the host knew when each log had so many entries."""

    event: str
    step: int
    counts: tuple[int, ...]
    at: float

    def mark(self, devices: Sequence[int]) -> LogMark:
        """The mark in the log of all disks, whose entries are of these."""
        return LogMark(self.event, self.step, joint.position(devices, self.counts), self.at)


def _counts(logs: Sequence[Path]) -> tuple[int, ...]:
    return tuple(map(position, logs))


def _joined(
    bench: FsBench, kind: FileSystemKind, logs: Sequence[Path]
) -> tuple[Path, Sequence[int]]:
    """One log of all disks, and whose its entries are.  Raises HostError."""
    if len(logs) == 1:
        return logs[0], [0] * position(logs[0])
    devices = joint.order(bench.trace.take(), logs)
    log = bench.path("joint")
    joint.join(logs, devices, kind.region, log)
    for each in logs:
        each.unlink()
    return log, devices


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
    return FsRecording(workload, directory / LOG, medium, marks, (), kind.region)


def failure_place(directory: Path, section: str, name: str, number: int) -> Path:
    """Where a run keeps a failure of a workload on a file system."""
    return directory / "cases" / section / name / str(number)


def base_name(kind: FileSystemKind, workload: FsWorkload) -> str:
    """What a run calls the medium that a workload begins with."""
    return BASE.format(kind.name, workload.base[:12])


def _unlike(walked: dict[str, Any], after: Tree) -> tuple[str, ...]:
    names, unreadable = seen(walked["names"])
    return (*unreadable, *differences(names, after))
