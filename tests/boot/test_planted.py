# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels with a defect of the lab's own: what must find it does, and shows nothing else.

Each is compiled, so they are run when LAB_KERNEL_SOURCE names the sources, as in
tests/boot/test_kernels.py.  One is for a night of twelve runs, by three profiles and two suites,
against Debian's kernel; one for crash states.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.boot.conftest import Lab

pytestmark = pytest.mark.skipif(
    "LAB_KERNEL_SOURCE" not in os.environ, reason="LAB_KERNEL_SOURCE is not set"
)

PATCH = ROOT / "tests/fixtures/kernel/leave-out-last-block.patch"
PLAN = ROOT / "tests/fixtures/kernel/planted.yaml"
CASES = ("rehearsal", "write:1 resume", "write:1 eio", "write:1 delay")
OVER_XFS = ("loop-xfs-reflink", "dm-flakey-loop")


@pytest.fixture
def planted(lab: Lab) -> Iterator[None]:
    """The kernel `planted` of the plan."""
    lab("kernel", "add", "planted", "--source", os.environ["LAB_KERNEL_SOURCE"],
        "--series", str(PATCH))  # fmt: skip
    yield
    # Not `lab kernel rm`: what was compiled is for the next time.
    (lab.state / "lab/kernels/planted.json").unlink()


def test_the_page_shows_the_planted_regression_and_nothing_else(
    lab: Lab, planted: None, tmp_path: Path
) -> None:
    lab("kernel", "build", "planted", deadline=7200)
    night = json.loads(lab("nightly", str(PLAN), "--json", status=1, deadline=7200).stdout)
    assert [job["state"] for job in night["jobs"]] == ["done"] * 12
    found = night["kernels"]["planted"]
    changed = {
        (one["change"], one["suite"], one["profile"], one["case"]) for one in found["changes"]
        if not one["rule"]
    }  # fmt: skip
    # A clone that leaves out a block is wrong in every case that copies by XFS, and nowhere else.
    assert changed == {
        ("regressed", "copy-faults", profile, f"loop-reflink:{case}")
        for profile in OVER_XFS
        for case in CASES
    }
    lab("results", "html", str(tmp_path))
    page = (tmp_path / f"{night['night']}.html").read_text()
    news = page[: page.index("<h2>")]
    assert f"New: {len(changed)} things are worse" in news
    listed = re.findall(
        r'<span class="case">(\S+ \S+)</span>\s*<span class="dim">(\S+ on \S+):', news
    )
    assert {(what, where) for what, where in listed} == {
        (case, f"{suite} on {profile}") for _, suite, profile, case in changed
    }


UNSYNCED = ROOT / "images/kernel/patches/planted"
CONFIGS = ("lean", "ext4-on-scsi")


@pytest.fixture
def unsynced(lab: Lab) -> Iterator[str]:
    """A kernel whose fsync does nothing."""
    configs = [
        word for name in CONFIGS
        for word in ("--config", str(ROOT / f"tests/fixtures/kernel/{name}.config"))
    ]  # fmt: skip
    lab("kernel", "add", "unsynced", "--source", os.environ["LAB_KERNEL_SOURCE"],
        "--series", str(UNSYNCED), *configs)  # fmt: skip
    lab("kernel", "build", "unsynced", deadline=7200)
    yield "unsynced"
    # Not `lab kernel rm`: what was compiled is for the next time.
    (lab.state / "lab/kernels/unsynced.json").unlink()


def test_crash_states_find_a_kernel_whose_fsync_does_nothing(lab: Lab, unsynced: str) -> None:
    done = lab(
        "run", "virtio-scsi", "crash-states", "--kernel", unsynced, "--json", "--",
        "--workload", "ace", "--fs", "ext4", "--losses", "0", "--seed", "1",
        "--only", "creat-new/fsync,creat-new/sync,creat-new/nothing", status=1, deadline=1800,
    )  # fmt: skip
    run = json.loads(done.stdout)
    assert {case["name"]: case["status"] for case in run["cases"]} == {
        "creat-new/fsync": "fail", "creat-new/sync": "pass", "creat-new/nothing": "pass",
    }  # fmt: skip
    failure = run["failures"][0]
    assert failure["rules"] == ["SYNCED"]
    assert len(failure["operations"]) == 2
    number = failure["number"]
    said = lab("replay", f"{run['run']}:{number}", "--times", "20", deadline=900).stdout
    assert "20 of 20 came to the same" in said
