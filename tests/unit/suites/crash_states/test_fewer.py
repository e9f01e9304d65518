# SPDX-License-Identifier: GPL-2.0-or-later
"""A failing workload made smaller."""

from pathlib import Path

from lab.suites.crash_states.fs.fewer import MOST_WORKLOADS, FailingWorkload, fewest
from lab.suites.crash_states.fs.history import Step
from lab.suites.crash_states.fs.judging import BrokenState
from lab.suites.crash_states.fs.posix import Ruled
from lab.suites.crash_states.fs.record import FsRecording
from lab.suites.crash_states.fs.workload import FsWorkload
from lab.suites.crash_states.loss import PowerLoss

STEPS: tuple[Step, ...] = (
    {"do": "creat", "path": "foo"}, {"do": "mkdir", "path": "A"},
    {"do": "fsync", "path": "foo"}, {"do": "rename", "path": "foo", "to": "A/foo"},
    {"do": "creat", "path": "bar"}, {"do": "fsync", "path": "A/foo"},
)  # fmt: skip


class Attempts:
    """Workloads that are tried; those fail that have all of some kinds of steps."""

    def __init__(self, place: Path, *needed: str) -> None:
        self._place = place
        self._needed = set(needed)
        self.count = 0

    def failing(self, workload: FsWorkload) -> tuple[FsRecording, BrokenState]:
        log = self._place / f"log-{self.count}"
        log.touch()
        loss = PowerLoss(1)
        broken = BrokenState(loss, loss, (Ruled("SYNCED", "x"),))
        return FsRecording(workload, log, self._place, (), ()), broken

    def __call__(
        self, workload: FsWorkload, rules: tuple[str, ...]
    ) -> tuple[FsRecording, BrokenState] | None:
        assert rules == ("SYNCED",)
        self.count += 1
        kinds = [step["do"] for step in workload.steps]
        return self.failing(workload) if self._needed <= set(kinds) else None


def test_steps_that_a_failure_can_do_without_go(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path, "rename", "mkdir")
    first = FailingWorkload(*attempts.failing(FsWorkload("x", STEPS)), (1, 2, 3, 4, 5, 6))
    small = fewest(first, attempts)
    # A rename needs the file and the directory; one sync may stay, and one may not be tried.
    assert {1, 2, 4} <= set(small.steps)
    assert 5 not in small.steps
    assert [step["do"] for step in small.recording.workload.steps] == [
        STEPS[number - 1]["do"] for number in small.steps
    ]
    assert attempts.count <= MOST_WORKLOADS
    # The log of the first is kept, and of the others that of the smallest.
    assert first.recording.log.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_smaller_stays(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path, "creat", "mkdir", "fsync", "rename", "nothing else")
    first = FailingWorkload(*attempts.failing(FsWorkload("x", STEPS)), (1, 2, 3, 4, 5, 6))
    assert fewest(first, attempts) is first
