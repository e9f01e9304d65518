# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of a workload on a file system that cannot be carried out, without any crash."""

from types import SimpleNamespace
from typing import Any

import pytest

from lab.results.cases import CaseStatus
from lab.suites.crash_states.fs.bench import StepMissing, StepRefused
from lab.suites.crash_states.fs.case import WorkloadJudging
from lab.suites.crash_states.fs.kinds import KINDS
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
