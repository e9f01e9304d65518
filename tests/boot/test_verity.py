# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite verity, with a wrong expectation planted: that bits are flipped which are not."""

import json

import pytest

from tests.boot.conftest import Lab, guest_of_a_run

AT_WORK = """\
until pgrep -x checker >/dev/null; do sleep 0.05; done
cat /proc/sys/kernel/hung_task_timeout_secs
"""
CASES = ("refused-unknown-option", "tasklet:data-read-error", "tasklet:*data-flipped")


def test_what_is_planted_is_caught_and_all_else_is_as_it_must_be(lab: Lab) -> None:
    running = lab.start(
        "run", "dm-verity-tasklet", "verity", "--json", "--",
        "--only", ",".join(CASES), "--plant", "no-flip",
    )  # fmt: skip
    # A guest that is slow is not called hung by the kernel at its default of two minutes.
    hung_task = lab("ssh", guest_of_a_run(lab), "--", AT_WORK, status=None)
    out, err = running.communicate(timeout=900)
    assert running.returncode == 1, err
    run = json.loads(out)
    assert run["boot"] > 0
    assert int(hung_task.stdout) == pytest.approx(120 * run["speed"], abs=1)
    found = {f"{case['section']}:{case['name']}": case for case in run["cases"]}
    planted = {title for title in found if title.endswith("data-flipped")}
    assert planted == {f"tasklet:{mode}data-flipped" for mode in ("", "ignore-", "fec-")}
    for title, case in found.items():
        assert case["status"] == ("fail" if title in planted else "pass"), case
    # Where the read had to fail the reader finds it, and else the look at the medium.
    assert "could be read, expected EIO" in found["tasklet:data-flipped"]["reason"]
    assert "on the medium" in found["tasklet:fec-data-flipped"]["reason"]
    # Read errors of QEMU's are real.
    log = lab.state / "lab/runs" / run["run"] / "cases/tasklet/data-read-error/log"
    assert "critical medium error" in log.read_text()
    # The ioctl has just an errno for it; the kernel's log has the word.
    told = found[":refused-unknown-option"]["output"]
    assert "user space: " in told and "Invalid argument" in told
    assert "only in the kernel's log: " in told and "no_such_option" in told
