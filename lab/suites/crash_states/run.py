# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite crash-states, from boot to verdicts."""

import tempfile
from collections import deque
from pathlib import Path

from lab.copy.paths import find
from lab.copy.paths.base import CopyPath
from lab.crash.logfile import position
from lab.guest.boot import Platform
from lab.profile.models import Profile
from lab.results import runs
from lab.results.cases import Case, CaseStatus
from lab.results.coverage import Circumstance
from lab.results.run import Run
from lab.suites.crash_states.fs import progress
from lab.suites.crash_states.fs.kinds import KINDS
from lab.suites.crash_states.fs.run import FsCampaign, disks_for
from lab.suites.crash_states.fs.selection import chosen
from lab.suites.crash_states.judging import CopyJudging
from lab.suites.crash_states.options import CrashOptions
from lab.suites.crash_states.plants import PLANTS
from lab.suites.crash_states.record import CopyFailed, CopyRecorder
from lab.suites.crash_states.recording import (
    LOG,
    OPERATIONS,
    CopyRecording,
    Plant,
    extract,
)
from lab.suites.crash_states.report import CrashReport
from lab.suites.guest import RunGuest
from lab.suites.ledger import Ledger
from lab.suites.record import recorded
from lab.suites.request import Assignment
from lab.suites.watch import Watcher

NAME = "crash-states"
PATH = "nvme-copy"


def run(asked: Assignment[CrashOptions], watcher: Watcher[Case]) -> CrashReport:
    """Boot, record a workload, take the guest down, and judge every state on the host; or judge
    what was recorded before.

    What the lab itself fails at ends the run and stands in the outcome; only errors from before the
    boot are raised (UsageError, ProfileError, HostError).
    """
    if asked.options.resume or asked.options.on_files:
        return _on_files(asked, watcher)
    profile, options = asked.profile, asked.options
    path = find(profile, options.path or PATH, options.ref, fua=options.fua)
    # Whether they can be drawn there is known without a boot.
    options.copies.draw(path, 0)
    platform = Platform.find(profile, watcher.progress)
    with recorded(
        CrashReport, NAME, profile, platform, options.document(), workload=options.workload
    ) as (record, outcome):  # fmt: skip
        ledger = Ledger(record, watcher, cases=outcome.cases)
        try:
            if options.recording:
                recording = _recorded(record, options)
            else:
                recording = _record(record, profile, platform, path, options, outcome, watcher)
        except CopyFailed as failed:
            ledger.add(Case("workload", CaseStatus.FAIL, 0.0, f"ERROR-CLASS: {failed}"))
            return outcome
        # In the run's directory: with a run that was killed it goes when that does.
        with tempfile.TemporaryDirectory(prefix="scratch-", dir=record.directory) as scratch:
            _judge(record, recording, options, Path(scratch), outcome, ledger)
    return outcome


def _on_files(asked: Assignment[CrashOptions], watcher: Watcher[Case]) -> CrashReport:
    """The same of file systems, whose states a guest looks at."""
    profile, options = asked.profile, asked.options
    if options.resume:
        options = options.resuming(progress.asked(options.resume))
    todo = deque(chosen(options))
    disks_for(profile, [KINDS[name] for name, _ in todo])
    platform = Platform.find(profile, watcher.progress)
    ground = progress.ground_of(profile, platform.kernel.key)
    if options.resume:
        progress.check_ground(options.resume, ground)
    with recorded(
        CrashReport, NAME, profile, platform, options.document(), workload=options.workload
    ) as (record, outcome):  # fmt: skip
        ledger = Ledger(record, watcher, cases=outcome.cases)
        campaign = FsCampaign(
            record, profile, platform, options, ground, outcome, ledger, todo
        )  # fmt: skip
        campaign.carry_out()
    return outcome


def _record(
    record: Run, profile: Profile, platform: Platform, path: CopyPath, options: CrashOptions,
    outcome: CrashReport, watcher: Watcher[Case],
) -> CopyRecording:  # fmt: skip
    """Carry the copies out in a guest, which is gone then.  Raises CopyFailed and LabError."""
    with RunGuest(record, profile, platform, watcher.progress) as own:
        own.listen()
        own.describe(outcome)
        outcome.speed = own.speed.slower
        operations = options.copies.draw(path, record.number)
        watcher.progress(f"record {len(operations)} copies")
        own.works_for("workload", Circumstance.PLAIN)
        recording = CopyRecorder(own, path).record(
            operations, record.directory / LOG, _plant(options)
        )
    record.write(OPERATIONS, recording.text())
    return recording


def _recorded(record: Run, options: CrashOptions) -> CopyRecording:
    """The recording of an earlier run, which becomes this one's too.  Raises LabError."""
    directory = runs.directory(options.recording)
    recording = CopyRecording.load(directory)
    source = directory / LOG
    extract(source, 0, position(source), record.directory / LOG, recording, _plant(options))
    record.write(OPERATIONS, recording.text())
    return recording


def _plant(options: CrashOptions) -> Plant | None:
    return PLANTS[options.plant].make if options.plant else None


def _judge(
    record: Run, recording: CopyRecording, options: CrashOptions, scratch: Path,
    outcome: CrashReport, ledger: Ledger,
) -> None:  # fmt: skip
    judging = CopyJudging(
        recording, record.directory / LOG, options.plan, scratch, ledger.watcher.progress
    )
    outcome.selected = judging.count()
    ledger.watcher.on_total(outcome.selected)
    ledger.begin("", "epoch-1")
    for judged in judging.epochs():
        outcome.coverage.append(judged.row)
        outcome.failures += judged.failures
        outcome.checked = judging.checked
        ledger.add(judged.case)
