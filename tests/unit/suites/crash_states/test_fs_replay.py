# SPDX-License-Identifier: GPL-2.0-or-later
"""Failures on file systems again: what is refused before a guest is booted."""

import json
from pathlib import Path

import pytest

from lab.crash.logfile import LogWriter
from lab.errors import UsageError
from lab.profile.load import load
from lab.results.runs import PastRun
from lab.suites.crash_states.fs.kinds import KINDS
from lab.suites.crash_states.fs.record import WORKLOAD, failure_place
from lab.suites.crash_states.fs.replay import look_again
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.crash_states.recording import LOG
from lab.suites.crash_states.replay import StateReplay


def again(place: Path, kind: str, loss: PowerLoss) -> None:
    """A failure that a run has kept, on a profile with a single disk."""
    kept = failure_place(place, kind, "creat", 1)
    kept.mkdir(parents=True, exist_ok=True)
    workload = {"name": "creat", "setup": [], "steps": [{"do": "creat", "path": "x"}], "marks": []}
    (kept / WORKLOAD).write_text(json.dumps(workload))
    with LogWriter(kept / LOG, 512) as log:
        region = KINDS[kind].region
        log.write(region, b"a" * 512)
        log.flush(region)
    past = PastRun({}, load("virtio-scsi").model_dump_json(by_alias=True))
    done = StateReplay("run:1", (1,), loss, ("SYNCED",))
    look_again(past, place, {"case": f"{kind}:creat", "number": 1}, done, 20, print)


@pytest.mark.parametrize("kind", ["ext4", "btrfs-raid1"])
def test_a_state_that_the_log_does_not_allow_is_not_looked_at(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match="does not allow this state"):
        again(tmp_path, kind, PowerLoss(2, (0,)))
