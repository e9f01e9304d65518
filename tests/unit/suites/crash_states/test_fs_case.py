# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of a file system that cannot be worked on, without a crash and behind one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.results.cases import CaseStatus
from lab.suites.crash_states.fs.bench import FsBench, StepMissing, StepRefused
from lab.suites.crash_states.fs.case import WorkloadJudging
from lab.suites.crash_states.fs.history import CrashMoment
from lab.suites.crash_states.fs.judging import judged
from lab.suites.crash_states.fs.kinds import KINDS
from lab.suites.crash_states.fs.record import FsRecording
from lab.suites.crash_states.fs.workload import FsWorkload


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (StepMissing("clone foo: Operation not supported"), CaseStatus.NOTRUN),
        (StepRefused("fsync foo: Input/output error"), CaseStatus.FAIL),
        (StepRefused("run: exit status 3: alas"), CaseStatus.FAIL),
    ],
)
def test_a_step_that_fails_fails_the_case_unless_a_file_system_does_not_have_it(
    refused: StepRefused, status: CaseStatus
) -> None:
    def get(*_: object) -> None:
        raise refused

    campaign: Any = SimpleNamespace(bases=SimpleNamespace(get=get))
    bench: Any = SimpleNamespace(own=SimpleNamespace(works_for=lambda *_: None))
    workload = FsWorkload("some", ({"do": "sync"},))
    case = WorkloadJudging(campaign, bench, KINDS["ext4"], workload).all().case
    assert (case.status, case.reason) == (status, str(refused))
    assert ("failed without any crash" in case.output) == (status is CaseStatus.FAIL)


class Holding(FsBench):
    """A guest that finds this in a state, and lets go of it or not."""

    def __init__(self, place: Path, found: dict[str, Any]) -> None:
        own: Any = SimpleNamespace(
            guest=SimpleNamespace(directory=place), speed=SimpleNamespace(patience=1)
        )
        disk: Any = SimpleNamespace(node="/dev/none", drive=SimpleNamespace(block_size=512))
        super().__init__(own, [disk])
        self.found = found
        self.lost = 0

    @property
    def trace(self) -> Any:
        return SimpleNamespace(drop=lambda: None, take=list)

    def put(self, *_: object) -> None:
        pass

    def ask(self, **_: object) -> dict[str, Any]:
        return self.found

    def lose(self) -> None:
        self.lost += 1


@pytest.mark.parametrize("held", ["", "Device or resource busy"])
def test_a_guest_that_cannot_let_go_of_a_state_is_given_up(tmp_path: Path, held: str) -> None:
    found = {"stage": "umount", "said": "Device or resource busy", "names": {}, "checked": {}}
    bench = Holding(tmp_path, {**found, "held": held})
    workload = FsWorkload("some", ({"do": "run", "command": "true"},))
    answer, read = bench.judge(KINDS["ext4"], tmp_path / "medium")
    assert (read, bench.lost) == (frozenset(), int(bool(held)))
    recording = FsRecording(workload, tmp_path, tmp_path, (), ())
    (ruled,) = judged(answer, recording, CrashMoment(), KINDS["ext4"])
    assert ruled.rule == "USABLE"
    assert ruled.evidence.endswith("umount: Device or resource busy")
