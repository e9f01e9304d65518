# SPDX-License-Identifier: GPL-2.0-or-later
"""Failures on file systems again: what is refused before a guest is booted."""

import json
from pathlib import Path

import pytest

from lab.crash.logfile import LogWriter
from lab.errors import UsageError
from lab.profile.load import load
from lab.results.run import PROFILE, Run
from lab.results.runs import PastRun
from lab.suites.copy_faults.bundle import make_bundle
from lab.suites.crash_states.fs.kinds import KINDS
from lab.suites.crash_states.fs.record import WORKLOAD, failure_place
from lab.suites.crash_states.fs.replay import look_again
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.crash_states.recording import LOG
from lab.suites.crash_states.replay import StateReplay, carry_out_again


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


FAILURE = {
    "number": 1, "case": "ext4:creat", "rules": ["SYNCED"], "operations": [1],
    "loss": {"cut": 2, "lost": [0], "torn": [], "ahead": 0},
}  # fmt: skip


def bundled(target: Path, **machine: str) -> Path:
    """A bundle of a run with a failure on a file system, of which the log is gone."""
    profile = load("virtio-scsi")
    changed = profile.machine.model_copy(update=machine)
    with Run("virtio-scsi", "crash-states") as run:
        run.write(PROFILE, profile.model_copy(update={"machine": changed}).model_dump_json())
        run.finish({"suite": "crash-states", "cases": [], "failures": [FAILURE]})
    make_bundle(run.id, "", target)
    return target


def test_a_bundle_of_a_file_system_has_no_program_of_the_host_run(tmp_path: Path) -> None:
    path = bundled(tmp_path / "b.tar.gz", qemu="/usr/bin/true")
    with pytest.raises(UsageError, match="QEMU /usr/bin/true is a place on the host that it was"):
        carry_out_again(str(path), 1, print)
    # In another QEMU it goes on, to the log that is not there.
    with pytest.raises(UsageError, match=r"workload\.json: no workload"):
        carry_out_again(str(path), 1, print, qemu="host")
    with pytest.raises(UsageError, match="no kernel nope"):
        carry_out_again(str(path), 1, print, kernel="nope", qemu="host")
