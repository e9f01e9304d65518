"""A plan on real guests, killed in the middle and resumed."""

import json
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.boot.conftest import Lab, make_lab, wait_for

PLAN = """\
kernels:
  - kernel: debian
    baseline: true
  - kernel: linux-image-cloud-amd64
profiles: [nvme-copy]
suites:
  - suite: copy-faults
    args: [--ranges, "1", --actions, "resume,eio"]
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """One without the guest that other tests share: nothing at all may be left."""
    return make_lab(tmp_path / "state")


@pytest.fixture
def plan(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(PLAN)
    return str(path)


def night(lab: Lab, plan: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(lab("nightly", plan, "--json", deadline=900).stdout)
    return document


def test_a_night_that_is_killed_is_resumed_and_nothing_is_left_over(lab: Lab, plan: str) -> None:
    """Killed with SIGKILL at a moment drawn anew each time, once in either run."""
    for kernel in ("debian", "linux-image-cloud-amd64"):
        lab("kernel", "build", kernel, deadline=900)
    for job in (1, 2):
        began = lab.start("nightly", plan)
        wait_for(partial(_boots, lab, job), f"the boot of run {job}", 400)
        time.sleep(random.uniform(0, 8))
        began.send_signal(signal.SIGKILL)
        began.communicate(timeout=60)
        # The run ends by itself, and takes its guest along.
        wait_for(lambda: not lab.processes(), "no process of the lab", 120)
    done = night(lab, plan)
    assert lab.leftovers() == []
    assert [job["state"] for job in done["jobs"]] == ["done", "done"]
    assert done["kernels"]["linux-image-cloud-amd64"]["cases"] == {"same": 5}
    assert len({job["run"] for job in done["jobs"]}) == 2
    with_documents = list((lab.state / "lab/runs").glob("*/run.json"))
    assert {job["run"] for job in done["jobs"]} <= {path.parent.name for path in with_documents}
    assert "about" in lab("nightly", plan, "--dry-run").stdout


def _boots(lab: Lab, job: int) -> bool:
    logs = (lab.state / "lab/nights").glob(f"*-small-*/{job}/log")
    return any("boot" in log.read_text() for log in logs)
