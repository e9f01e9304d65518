# SPDX-License-Identifier: GPL-2.0-or-later
"""A state of a file system again: built from what a run kept, and given to a guest."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.crash.states import StatePlan
from lab.errors import UsageError
from lab.guest.boot import Platform, Progress
from lab.profile.models import Profile
from lab.results.runs import PastRun
from lab.suites.crash_states.fs.judging import FsJudging, rules_of
from lab.suites.crash_states.fs.kinds import KINDS
from lab.suites.crash_states.fs.record import failure_place, load
from lab.suites.crash_states.fs.run import bench_on
from lab.suites.crash_states.report import CrashReport
from lab.suites.guest import RunGuest
from lab.suites.record import recorded

if TYPE_CHECKING:
    from lab.suites.crash_states.replay import StateReplay

NAME = "replay"


def look_again(
    past: PastRun, directory: Path, failure: Mapping[str, Any], done: "StateReplay", times: int,
    progress: Progress,
) -> None:  # fmt: skip
    """Have a guest look at a state `times` times, and note what it found.

    Raises UsageError where the state is not possible, and all that a boot raises.
    """
    section, _, name = failure["case"].partition(":")
    try:
        profile = Profile.model_validate_json(past.profile)
        kind = KINDS[section]
    except (KeyError, ValueError) as error:
        raise UsageError(f"{done.id} cannot be repeated: {error}") from error
    recording = load(failure_place(directory, section, name, failure["number"]), directory, kind)
    with recording.open() as log:
        if not done.loss.possible(log):
            raise UsageError(f"{done.id}: the log does not allow this state")
    platform = Platform.find(profile, progress)
    asked = {"of": done.id}
    with (
        recorded(CrashReport, NAME, profile, platform, asked, workload=name) as (run, outcome),
        recording.open() as log,
        RunGuest(run, profile, platform, progress) as own,
    ):
        bench = bench_on(own, profile, [kind])
        judging = FsJudging(bench, kind, StatePlan(), lambda: None)
        for _ in range(times):
            broken = judging.again(recording, log, done.loss)
            done.found.append(rules_of(broken))
            done.evidence = [str(each) for each in broken]
    if outcome.error:
        raise outcome.error
