# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own exerciser: on the reference model, whose lower file system is shut down, and in a
guest that is slow and panics."""

import errno
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.boot.conftest import Lab, guest_of_a_run, kept

PLAIN = """\
description: a file system on a disk
devices:
  - type: nvme
    serial: LABNVME0
    namespaces:
      - size: 128M
layers:
  - name: ext4
    type: ext4
    over: LABNVME0
"""
AT_WORK = "until [ -s /mnt/ext4/exerciser ]; do sleep 0.05; done"


def test_a_shutdown_below_loses_nothing_that_was_fsynced_or_is_told(lab: Lab) -> None:
    done = lab(
        "run", "loop-xfs-reflink", "fsx", "--json", "--",
        "--seed", "1", "--cases", "2", "--ops", "100", "--shutdown", "xfs",
        deadline=900,
    )  # fmt: skip
    run = json.loads(done.stdout)
    assert [(case["name"], case["status"]) for case in run["cases"]] == [
        ("seed-1", "pass"), ("seed-2", "pass"),
    ]  # fmt: skip
    for case in run["cases"]:
        (log,) = case["files"]
        lines = (lab.state / "lab/runs" / run["run"] / log).read_text().splitlines()
        errors = [json.loads(line)["answer"]["errno"] for line in lines]
        # It worked until it was shut down, but for what ext4 does not offer, and then it did not:
        # so that there was a loss to judge.
        assert set(errors[:50]) <= {0, errno.EOPNOTSUPP}
        assert errno.EIO in errors[50:]


def test_a_panic_is_the_cases_and_the_run_goes_on(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text(PLAIN)
    running = lab.start(
        "run", str(tmp_path / "plain.yaml"), "fsx", "--json", "--",
        "--seed", "1", "--cases", "3", "--ops", "400",
    )  # fmt: skip
    guest = guest_of_a_run(lab)
    hung_task = lab(
        "ssh", guest, "--",
        # What is said last may never arrive.
        f"{AT_WORK}; cat /proc/sys/kernel/hung_task_timeout_secs; sleep 1; "
        "exec >/dev/null 2>&1; echo c >/proc/sysrq-trigger",
        status=None,
    )  # fmt: skip
    out, err = running.communicate(timeout=900)
    assert running.returncode == 1, err
    run = json.loads(out)
    assert run["error"] is None
    assert Counter(case["status"] for case in run["cases"]) == {"pass": 2, "crashed": 1}
    (crashed,) = (case for case in run["cases"] if case["status"] == "crashed")
    assert crashed["reason"].startswith("Kernel panic - not syncing: sysrq triggered crash")
    console = kept(lab, run, f"cases/ext4/{crashed['name']}/console")
    assert "sysrq_handle_crash" in console
    assert "</TASK>" in console, "the trace is cut off"
    # A guest that is slow is not called hung by the kernel at its default of two minutes.
    assert int(hung_task.stdout) == pytest.approx(120 * run["speed"], abs=1)
    if run["accelerator"] == "tcg":
        assert run["speed"] > 1
