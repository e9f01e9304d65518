# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems: every workload recorded, and each of its states judged by a guest that stays up."""

import json
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase

from lab.errors import ProfileError, UsageError
from lab.host.clone import clone
from lab.profile.models import Profile, VirtioScsi
from lab.results.cases import Case, CaseStatus
from lab.suites.crash_states.fs.ace import FsWorkload, workloads
from lab.suites.crash_states.fs.bench import FsBench
from lab.suites.crash_states.fs.judging import BrokenState, FsJudging, now
from lab.suites.crash_states.fs.kinds import KINDS, FileSystemKind
from lab.suites.crash_states.fs.plants import FS_PLANTS, GOOD
from lab.suites.crash_states.fs.record import (
    BASE,
    WORKLOAD,
    FsRecording,
    StepRefused,
    record,
)
from lab.suites.crash_states.options import CrashOptions
from lab.suites.crash_states.pace import StatePace
from lab.suites.crash_states.recording import LOG
from lab.suites.crash_states.report import CoverageRow, CrashReport, StateFailure
from lab.suites.guest import GuestLost, RunGuest
from lab.suites.ledger import Ledger
from lab.vm.disks import EmulatedDisk, find_disks


def chosen(options: CrashOptions) -> list[FsWorkload]:
    """The workloads that were asked for.  Raises UsageError where that is none."""
    every = list(workloads())
    found = [
        each for each in every
        if not options.only or any(fnmatchcase(each.name, one) for one in options.only)
    ]  # fmt: skip
    if not found:
        raise UsageError(
            f"crash-states: no workload is called {', '.join(options.only)}",
            hint=f"there are {len(every)}, such as {every[0].name}",
        )
    return found


def disk_for(profile: Profile) -> EmulatedDisk:
    """The disk whose medium is exchanged.  Raises ProfileError where there is none."""
    disks = find_disks(profile)
    for device in profile.devices:
        if isinstance(device, VirtioScsi) and not any(
            device.serial == getattr(layer, "over", None) for layer in profile.layers
        ):
            return disks[device.serial]
    raise ProfileError(
        f"profile {profile.name}: crash-states of file systems needs a virtio-scsi disk",
        hint="take virtio-scsi; QEMU's NVMe ignores FUA: no fsync there outlives a power cut",
    )


def run(
    own: RunGuest, profile: Profile, options: CrashOptions, outcome: CrashReport, ledger: Ledger
) -> None:
    """Judge all that was asked for.  Raises LabError."""
    todo = chosen(options)
    outcome.selected = len(todo) * len(options.file_systems)
    ledger.watcher.on_total(outcome.selected)
    bench = FsBench(own, disk_for(profile))
    for name in options.file_systems:
        ledger.watcher.progress(f"make {name}")
        _FsRun(bench, KINDS[name], options, outcome, ledger).run(todo)


class _FsRun:
    """The workloads on one file system."""

    def __init__(
        self, bench: FsBench, kind: FileSystemKind, options: CrashOptions, outcome: CrashReport,
        ledger: Ledger,
    ) -> None:  # fmt: skip
        self._bench = bench
        self._kind = kind
        self._outcome = outcome
        self._plant = FS_PLANTS[options.plant] if options.plant else GOOD
        self._ledger = ledger
        self._pace = StatePace(ledger.watcher.progress, every=30.0, look=1)
        self._judging = FsJudging(bench, kind, options.plan, self._pace.reach)
        self._base = bench.make(kind)

    def run(self, todo: list[FsWorkload]) -> None:
        """One after the other."""
        self._pace.begin(self._kind.name, 0)
        for workload in todo:
            self._ledger.begin(self._kind.name, workload.name)
            self._ledger.add(self._case(workload))

    def _case(self, workload: FsWorkload) -> Case:
        start, _ = now()
        try:
            recording = record(self._bench, self._kind, self._base, workload, self._plant)
        except StepRefused as refused:
            return Case(workload.name, CaseStatus.NOTRUN, 0.0, str(refused), self._kind.name)
        except GuestLost as lost:
            words = self._bench.own.last_words(lost)
            self._bench.lose()
            return Case(
                workload.name, lost.status, round(now()[0] - start, 3), lost.reason,
                self._kind.name, output=words,
            )  # fmt: skip
        broken = list(self._broken(recording))
        failures = [self._failure(recording, each) for each in broken]
        recording.log.unlink()
        said = [f"unlike POSIX without any crash: {each}" for each in recording.unlike]
        for each in failures:
            said += [
                f"failure {each.number}: {each.loss}",
                *(f"    {one}" for one in each.evidence),
            ]
        reason = next(iter([*recording.unlike, *(each.evidence[0] for each in failures)]), "")
        status = CaseStatus.FAIL if said else CaseStatus.PASS
        return Case(
            workload.name, status, round(now()[0] - start, 3), reason, self._kind.name,
            output="\n".join([reason, *said]),
        )  # fmt: skip

    def _broken(self, recording: FsRecording) -> Iterator[BrokenState]:
        """The first state of each kind that breaks rules; how much was looked at is noted."""
        known: set[tuple[str, ...]] = set()
        wall, busy = now()
        title = f"{self._kind.name}:{recording.workload.name}"
        for coverage, broken in self._judging.states(recording):
            clock, spent = now()
            row = CoverageRow(title, coverage, clock - wall, spent - busy)
            self._outcome.coverage.append(row)
            wall, busy = clock, spent
            if broken and broken.rules not in known:
                known.add(broken.rules)
                yield broken

    def _failure(self, recording: FsRecording, broken: BrokenState) -> StateFailure:
        """Keep what it takes to see it again."""
        name = recording.workload.name
        directory = self._outcome.directory / "cases" / self._kind.name / name
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / LOG).exists():
            shutil.copy(recording.log, directory / LOG)
            document = {
                "file_system": self._kind.name,
                **recording.workload.document(),
                "marks": [each.document() for each in recording.marks],
            }
            (directory / WORKLOAD).write_text(json.dumps(document, indent=1) + "\n")
        base = self._outcome.directory / BASE.format(self._kind.name)
        if not base.exists():
            clone(self._base, base)
        wrong = sum(
            row.coverage.wrong
            for row in self._outcome.coverage
            if row.name == f"{self._kind.name}:{name}"
        )
        failure = StateFailure(
            len(self._outcome.failures) + 1, f"{self._kind.name}:{name}", broken.rules,
            tuple(map(str, broken.broken)), wrong, (1,), broken.loss, broken.first,
        )  # fmt: skip
        self._outcome.failures.append(failure)
        return failure
