# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems: every workload recorded, and each of its states judged, by one guest or several."""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from lab.errors import ProfileError
from lab.guest.boot import Platform
from lab.profile.layers.faulty import DmReorder
from lab.profile.models import Profile, VirtioScsi
from lab.results import runs
from lab.results.coverage import Circumstance
from lab.results.run import Run
from lab.suites.crash_states.fs import progress
from lab.suites.crash_states.fs.bases import BaseMedia
from lab.suites.crash_states.fs.bench import FsBench
from lab.suites.crash_states.fs.case import WorkloadJudging
from lab.suites.crash_states.fs.judging import RunEnds, now
from lab.suites.crash_states.fs.kinds import KINDS, FileSystemKind
from lab.suites.crash_states.fs.plants import FS_PLANTS, GOOD
from lab.suites.crash_states.fs.progress import Ground, JudgedWorkload, ProgressLog
from lab.suites.crash_states.fs.workload import FsWorkload
from lab.suites.crash_states.options import MODEL, CrashOptions
from lab.suites.crash_states.pace import StatePace
from lab.suites.crash_states.report import CrashReport
from lab.suites.guest import RunGuest
from lab.suites.ledger import Ledger
from lab.vm.disks import EmulatedDisk, find_disks

Todo = deque[tuple[str, FsWorkload]]


def disks_for(profile: Profile, kinds: Iterable[FileSystemKind]) -> list[EmulatedDisk]:
    """The disks whose media are exchanged; nothing may stand on them but dm-reorder, on a single
    one.  Raises ProfileError where there are too few for these file systems."""
    disks = find_disks(profile)
    most = max(kinds, key=lambda kind: kind.disks)
    reordered = _reordered(profile) if most.disks == 1 else {}
    used = {
        use.ref
        for layer in profile.layers
        if layer.name not in reordered.values()
        for use in layer.uses()
    }
    found = [
        disks[device.serial]
        for device in profile.devices
        if isinstance(device, VirtioScsi) and device.serial not in used
    ]
    if len(found) < most.disks:
        few = "a virtio-scsi disk" if most.disks == 1 else f"{most.disks} virtio-scsi disks"
        raise ProfileError(
            f"profile {profile.name}: crash-states of {most.name} needs {few}",
            hint="take virtio-scsi, or virtio-scsi-pair with its two disks; QEMU's NVMe ignores "
            "FUA: no fsync there outlives a power cut",
        )
    if len({disk.drive.block_size for disk in found[: most.disks]}) > 1:
        raise ProfileError(
            f"profile {profile.name}: crash-states of {most.name} needs disks of one block_size",
            hint="their logs are put together to one",
        )
    return found


def bench_on(own: RunGuest, profile: Profile, kinds: Sequence[FileSystemKind]) -> FsBench:
    """What file systems of these kinds are tried on in a guest of a profile."""
    disks = disks_for(profile, kinds)
    return FsBench(own, disks, _reordered(profile).get(disks[0].drive.serial, ""))


def _reordered(profile: Profile) -> dict[str, str]:
    """The layers of dm-reorder that nothing stands on, by what they stand on."""
    used = {use.ref for layer in profile.layers for use in layer.uses()}
    return {
        layer.over: layer.name
        for layer in profile.layers
        if isinstance(layer, DmReorder) and layer.name not in used
    }


@dataclass
class FsCampaign:
    """The workloads of a run, shared by its guests: each takes the next when it has done one."""

    run: Run
    profile: Profile
    platform: Platform
    options: CrashOptions
    ground: Ground
    outcome: CrashReport
    ledger: Ledger
    todo: Todo
    stop: threading.Event = field(default_factory=threading.Event)
    """Set where guests are to leave off: one has failed, or somebody has had enough."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _states: int = 0
    _failures: int = 0

    def __post_init__(self) -> None:
        self.bases = BaseMedia(self.run.directory)
        self.plant = FS_PLANTS[self.options.plant] if self.options.plant else GOOD
        self._log = ProgressLog(self.run.directory, self.options, self.ground)
        self._pace = StatePace(self.ledger.watcher.progress, every=30.0, look=1)

    def carry_out(self) -> None:
        """Judge all that was asked for.  Raises LabError."""
        self.outcome.selected = len(self.todo)
        self._take_over()
        self.ledger.watcher.on_total(len(self.todo))
        with RunGuest(self.run, self.profile, self.platform, self.ledger.watcher.progress) as own:
            own.listen()
            own.describe(self.outcome)
            self.outcome.speed = own.speed.slower
            start, _ = now()
            self._pace.begin("in all", 0)
            try:
                self._work_side_by_side(own)
            finally:
                self.outcome.wall = now()[0] - start
        self.bases.close()

    def _take_over(self) -> None:
        """What the run that is resumed has come to is of this one."""
        run = self.options.resume
        if not run:
            return
        self.bases.take_over(runs.directory(run))
        for judged in progress.judged(run):
            pair = next((pair for pair in self.todo if _is_of(judged, pair)), None)
            if pair:
                progress.take_over(run, judged.failures, self.run.directory)
                self._failures = max([self._failures, *(each.number for each in judged.failures)])
                self.todo.remove(pair)
                self.add(judged, KINDS[pair[0]], pair[1])

    def _work_side_by_side(self, own: RunGuest) -> None:
        """Work in a thread for each guest; when one fails, all end."""

        def work(number: int) -> None:
            with RunGuest(
                self.run, self.profile, self.platform, self.ledger.watcher.progress,
                number=number, speed=own.speed,
            ) as more:  # fmt: skip
                _Lane(self, more).work()

        guests = max(1, min(self.options.shards, len(self.todo)))
        with ThreadPoolExecutor(guests, "lane") as pool:
            lanes = [pool.submit(_Lane(self, own).work)]
            lanes += [pool.submit(work, number) for number in range(2, guests + 1)]
            try:
                done, _ = wait(lanes, return_when=FIRST_EXCEPTION)
            finally:
                # A failure, or Ctrl-C: the others leave at their next look.
                self.stop.set()
        for lane in done:
            lane.result()

    def reach(self) -> None:
        """A guest has looked at a state.  Raises RunEnds where no more is wanted."""
        if self.stop.is_set():
            raise RunEnds
        with self._lock:
            self._states += 1
            self._pace.reach(self._states)

    def next(self) -> tuple[str, FsWorkload] | None:
        """What is to be done next."""
        with self._lock:
            return self.todo.popleft() if self.todo else None

    def add(self, judged: JudgedWorkload, kind: FileSystemKind, workload: FsWorkload) -> None:
        """All of a workload is judged."""
        judged = replace(judged, meaning=workload.meaning)
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


def _is_of(judged: JudgedWorkload, pair: tuple[str, FsWorkload]) -> bool:
    """Whether it came of a workload on a file system, and not of another that had its name."""
    section, workload = pair
    named = (judged.case.section, judged.case.name) == (section, workload.name)
    return named and judged.meaning in ("", workload.meaning)


class _Lane:
    """A guest, and the workloads that it takes."""

    def __init__(self, campaign: FsCampaign, own: RunGuest) -> None:
        self._campaign = campaign
        kinds = [KINDS[name] for name in campaign.options.file_systems]
        self._bench = bench_on(own, campaign.profile, kinds)

    def work(self) -> None:
        """Until there are no more.  Raises LabError."""
        campaign = self._campaign
        while not campaign.stop.is_set() and (found := campaign.next()):
            name, workload = found
            campaign.ledger.begin(name, workload.name)
            judging = WorkloadJudging(campaign, self._bench, KINDS[name], workload)
            of_model = campaign.options.workload == MODEL
            try:
                judged = judging.model() if of_model else judging.all()
            except RunEnds:
                return
            self._bench.own.works_for("", Circumstance.OUTSIDE)
            campaign.add(judged, KINDS[name], workload)
