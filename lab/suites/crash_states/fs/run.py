# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems: every workload recorded, and each of its states judged, by one guest or several."""

import json
import shutil
import threading
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from lab.crash.excerpt import LogExcerpt
from lab.crash.logfile import WriteLog
from lab.crash.marks import STARTED
from lab.errors import ProfileError
from lab.guest.boot import Platform
from lab.profile.models import Profile, VirtioScsi
from lab.results.cases import Case, CaseStatus
from lab.results.run import Run
from lab.suites.crash_states.fs import progress
from lab.suites.crash_states.fs.bases import BaseMedia
from lab.suites.crash_states.fs.bench import FsBench, StepRefused
from lab.suites.crash_states.fs.fewer import FailingWorkload, fewest
from lab.suites.crash_states.fs.judging import BrokenState, FsJudging, now
from lab.suites.crash_states.fs.kinds import KINDS, FileSystemKind
from lab.suites.crash_states.fs.model import compare
from lab.suites.crash_states.fs.plants import FS_PLANTS, GOOD
from lab.suites.crash_states.fs.progress import JudgedWorkload, ProgressLog
from lab.suites.crash_states.fs.record import WORKLOAD, FsRecording, failure_place, record
from lab.suites.crash_states.fs.workload import FsWorkload
from lab.suites.crash_states.options import MODEL, CrashOptions
from lab.suites.crash_states.pace import StatePace
from lab.suites.crash_states.recording import LOG
from lab.suites.crash_states.report import CoverageRow, CrashReport, StateFailure
from lab.suites.guest import GuestLost, RunGuest
from lab.suites.ledger import Ledger
from lab.vm.disks import EmulatedDisk, find_disks

_TOLD_EVERY = 500
"""Sequences."""

Todo = deque[tuple[str, FsWorkload]]


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


@dataclass
class FsCampaign:
    """The workloads of a run, shared by its guests: each takes the next when it has done one."""

    run: Run
    profile: Profile
    platform: Platform
    options: CrashOptions
    outcome: CrashReport
    ledger: Ledger
    todo: Todo
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _states: int = 0
    _failures: int = 0

    def __post_init__(self) -> None:
        self.bases = BaseMedia(self.run.directory)
        self.plant = FS_PLANTS[self.options.plant] if self.options.plant else GOOD
        self._log = ProgressLog(self.run.directory, self.options)
        self._pace = StatePace(self.ledger.watcher.progress, every=30.0, look=1)

    def carry_out(self) -> None:
        """Judge all that was asked for.  Raises LabError."""
        self.outcome.selected = len(self.todo)
        self._take_over()
        self.ledger.watcher.on_total(len(self.todo))
        stop = threading.Event()
        with RunGuest(self.run, self.profile, self.platform, self.ledger.watcher.progress) as own:
            own.listen()
            own.describe(self.outcome)
            self.outcome.speed = own.speed.slower
            start, _ = now()
            self._pace.begin("in all", 0)
            try:
                self._work_side_by_side(own, stop)
            finally:
                self.outcome.wall = now()[0] - start
        self.bases.close()

    def _take_over(self) -> None:
        """What the run that is resumed has come to is of this one."""
        run = self.options.resume
        for judged in progress.judged(run) if run else ():
            progress.take_over(run, judged.failures, self.run.directory)
            self._failures = max([self._failures, *(each.number for each in judged.failures)])
            pair = next(
                (pair for pair in self.todo
                 if (pair[0], pair[1].name) == (judged.case.section, judged.case.name)), None,
            )  # fmt: skip
            if pair:
                self.todo.remove(pair)
                self.add(judged, KINDS[pair[0]], pair[1])

    def _work_side_by_side(self, own: RunGuest, stop: threading.Event) -> None:
        """Work in a thread for each guest; when one fails, all end."""

        def work(number: int) -> None:
            with RunGuest(
                self.run, self.profile, self.platform, self.ledger.watcher.progress,
                number=number, speed=own.speed,
            ) as more:  # fmt: skip
                _Lane(self, more, stop).work()

        guests = max(1, min(self.options.shards, len(self.todo)))
        with ThreadPoolExecutor(guests, "lane") as pool:
            lanes = [pool.submit(_Lane(self, own, stop).work)]
            lanes += [pool.submit(work, number) for number in range(2, guests + 1)]
            try:
                done, _ = wait(lanes, return_when=FIRST_EXCEPTION)
            finally:
                # A failure, or Ctrl-C: the others leave at their next look.
                stop.set()
        for lane in done:
            lane.result()

    def reach(self) -> None:
        """A guest has looked at a state."""
        with self._lock:
            self._states += 1
            self._pace.reach(self._states)

    def next(self) -> tuple[str, FsWorkload] | None:
        """What is to be done next."""
        with self._lock:
            return self.todo.popleft() if self.todo else None

    def add(self, judged: JudgedWorkload, kind: FileSystemKind, workload: FsWorkload) -> None:
        """All of a workload is judged."""
        with self._lock:
            self.outcome.coverage += judged.rows
            self.outcome.failures += judged.failures
            if judged.failures:
                self.bases.keep(kind, workload)
            self._log.add(judged)
        self.ledger.add(judged.case)

    def number(self) -> int:
        """Of the next failure."""
        with self._lock:
            self._failures += 1
            return self._failures


class _Lane:
    """A guest, and the workloads that it takes."""

    def __init__(self, campaign: FsCampaign, own: RunGuest, stop: threading.Event) -> None:
        self._campaign = campaign
        self._stop = stop
        self._bench = FsBench(own, disk_for(campaign.profile))

    def work(self) -> None:
        """Until there are no more.  Raises LabError."""
        while not self._stop.is_set() and (found := self._campaign.next()):
            name, workload = found
            self._campaign.ledger.begin(name, workload.name)
            judging = _Judging(self._campaign, self._bench, KINDS[name], workload, self._stop)
            of_model = self._campaign.options.workload == MODEL
            judged = judging.model() if of_model else judging.all()
            if judged:
                self._campaign.add(judged, KINDS[name], workload)


class _Judging:
    """A workload on a file system, recorded and judged."""

    def __init__(
        self, campaign: FsCampaign, bench: FsBench, kind: FileSystemKind, workload: FsWorkload,
        stop: threading.Event,
    ) -> None:  # fmt: skip
        self._campaign = campaign
        self._bench = bench
        self._kind = kind
        self._workload = workload
        self._stop = stop
        self._rows: list[CoverageRow] = []
        self._start, _ = now()

    def all(self) -> JudgedWorkload | None:
        """What it has come to; None where the run ends meanwhile.  Raises LabError."""
        try:
            base = self._campaign.bases.get(self._bench, self._kind, self._workload)
            recording = record(self._bench, self._kind, base, self._workload, self._campaign.plant)
        except StepRefused as refused:
            return JudgedWorkload(self._case(CaseStatus.NOTRUN, str(refused)))
        except GuestLost as lost:
            words = self._bench.own.last_words(lost)
            self._bench.lose()
            return JudgedWorkload(self._case(lost.status, lost.reason, words))
        failures = [self._failure(recording, each) for each in self._broken(recording)]
        recording.log.unlink()
        if self._stop.is_set() and not self._rows:
            return None
        said = [f"unlike POSIX without any crash: {each}" for each in recording.unlike]
        for each in failures:
            said += [
                f"failure {each.number}: {each.loss}",
                *(f"    {one}" for one in each.evidence),
            ]
        reason = next(iter([*recording.unlike, *(each.evidence[0] for each in failures)]), "")
        status = CaseStatus.FAIL if said else CaseStatus.PASS
        case = self._case(status, reason, "\n".join([reason, *said]))
        return JudgedWorkload(case, tuple(self._rows), tuple(failures))

    def model(self) -> JudgedWorkload | None:
        """What sequences without a crash have come to; None where the run ends meanwhile."""
        options, told = self._campaign.options, 0
        done = said = 0
        try:
            for done, found, odd in compare(
                self._bench, self._kind, options.plan.seed, options.sequences
            ):
                said += found
                if odd:
                    words = [*map(str, map(dict, odd.steps)), *odd.said]
                    return JudgedWorkload(
                        self._case(CaseStatus.FAIL, odd.said[0], "\n".join(words))
                    )
                if self._stop.is_set():
                    return None
                if done - told >= _TOLD_EVERY:
                    told = done
                    self._campaign.ledger.watcher.progress(f"{self._kind.name}: {done} sequences")
        except GuestLost as lost:
            words = [self._bench.own.last_words(lost)]
            self._bench.lose()
            return JudgedWorkload(self._case(lost.status, lost.reason, "\n".join(words)))
        output = f"{done} sequences, {said} of them to their end: no difference"
        return JudgedWorkload(self._case(CaseStatus.PASS, "", output))

    def _case(self, status: CaseStatus, reason: str, output: str = "") -> Case:
        seconds = round(now()[0] - self._start, 3)
        return Case(self._workload.name, status, seconds, reason, self._kind.name, output=output)

    @property
    def _title(self) -> str:
        return f"{self._kind.name}:{self._workload.name}"

    def _broken(self, recording: FsRecording) -> list[BrokenState]:
        """The first state of each kind that breaks rules; how much was looked at is noted."""
        known: dict[tuple[str, ...], BrokenState] = {}
        judging = FsJudging(
            self._bench, self._kind, self._campaign.options.plan, self._campaign.reach
        )
        wall, busy = now()
        for judged in judging.states(recording):
            clock, spent = now()
            self._rows.append(
                CoverageRow(
                    self._title,
                    judged.coverage,
                    clock - wall,
                    spent - busy,
                    judged.looked,
                    judged.checked,
                )
            )
            wall, busy = clock, spent
            if judged.broken:
                known.setdefault(judged.broken.rules, judged.broken)
            if self._stop.is_set():
                # Of this workload nothing counts: it is not all.
                self._rows.clear()
                return []
        return list(known.values())

    def _failure(self, recording: FsRecording, broken: BrokenState) -> StateFailure:
        """A failure made small, and kept with what it takes to see it again."""
        every = tuple(range(1, len(self._workload.steps) + 1))
        first = FailingWorkload(recording, broken, every)
        small = fewest(first, self._again) if len(every) > 1 else first
        number = self._campaign.number()
        self._keep(small.recording, number)
        wrong = sum(row.coverage.wrong for row in self._rows)
        loss = small.broken.loss
        made = StateFailure(
            number, self._title, broken.rules, tuple(map(str, small.broken.broken)), wrong,
            small.steps, loss, broken.first, self._excerpt(small.recording, loss.cut),
        )  # fmt: skip
        if small.recording is not recording:
            small.recording.log.unlink()
        return made

    def _again(
        self, workload: FsWorkload, rules: tuple[str, ...]
    ) -> tuple[FsRecording, BrokenState] | None:
        """Whether a smaller workload has a state that breaks the same rules."""
        base = self._campaign.bases.get(self._bench, self._kind, workload)
        recording = record(self._bench, self._kind, base, workload, self._campaign.plant)
        judging = FsJudging(
            self._bench, self._kind, self._campaign.options.plan, self._campaign.reach
        )
        for judged in judging.states(recording):
            if judged.broken and set(rules) <= set(judged.broken.rules):
                return recording, judged.broken
        recording.log.unlink()
        return None

    def _keep(self, recording: FsRecording, number: int) -> None:
        name = self._workload.name
        directory = failure_place(self._campaign.run.directory, self._kind.name, name, number)
        directory.mkdir(parents=True)
        shutil.copy(recording.log, directory / LOG)
        document = {
            "file_system": self._kind.name,
            **recording.workload.document(),
            "marks": [each.document() for each in recording.marks],
        }
        (directory / WORKLOAD).write_text(json.dumps(document, indent=1) + "\n")

    @staticmethod
    def _excerpt(recording: FsRecording, cut: int) -> LogExcerpt:
        """The log around a cut, with the steps by their names."""
        steps = recording.workload.steps
        marks = [
            (each, f"{'' if each.event == STARTED else '✓ '}{steps[each.operation - 1]['do']}")
            for each in recording.marks
        ]
        with WriteLog(recording.log) as log:
            return LogExcerpt.of(log, cut, marks)
