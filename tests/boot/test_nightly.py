# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan on real guests, killed in the middle and resumed.

The second test kills a night as often as LAB_KILLS says; it is left out where that is not set.
"""

import json
import os
import random
import signal
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.boot.conftest import TWO_KERNELS, Lab, make_lab, wait_for

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
    assert done["kernels"]["linux-image-cloud-amd64"]["cases"] == {"same": 6}
    assert len({job["run"] for job in done["jobs"]}) == 2
    page = (lab.state / "lab/site" / f"{done['night']}.html").read_text()
    assert "Nothing new" in page and all(f"{job['run']}.html" in page for job in done["jobs"])
    with_documents = list((lab.state / "lab/runs").glob("*/run.json"))
    assert {job["run"] for job in done["jobs"]} <= {path.parent.name for path in with_documents}
    assert "about" in lab("nightly", plan, "--dry-run").stdout


def _boots(lab: Lab, job: int) -> bool:
    logs = (lab.state / "lab/nights").glob(f"*-small-*/{job}/log")
    return any("boot" in log.read_text() for log in logs)


@pytest.mark.skipif("LAB_KILLS" not in os.environ, reason="LAB_KILLS is not set")
def test_a_night_that_is_killed_at_random_moments(tmp_path: Path) -> None:
    """However often and wherever: the same end, no guest left over, no result lost or doubled."""
    kills, lab = int(os.environ["LAB_KILLS"]), make_lab(tmp_path / "state")
    for kernel in ("debian", "linux-image-cloud-amd64"):
        lab("kernel", "build", kernel, deadline=900)
    path = tmp_path / "many.yaml"
    # So many runs that the night cannot end before the last kill.
    path.write_text(TWO_KERNELS.format(repeat=1 + kills // 2))
    known: dict[int, str] = {}
    longest = 30.0
    for number in range(1, kills + 1):
        start = time.monotonic()
        began = lab.start("nightly", str(path))
        moment = random.uniform(0, longest)
        time.sleep(moment)
        assert began.poll() is None, began.communicate()
        began.send_signal(signal.SIGKILL)
        began.communicate(timeout=60)
        wait_for(lambda: not lab.processes(), "no process of the lab", 180)
        done = _done(lab)
        print(f"kill {number} after {moment:.1f} s: {len(done)} runs done")
        # What had ended stays, with the run that it had.
        assert known.items() <= done.items()
        known = done
        assert time.monotonic() - start < 400
    end = night(lab, str(path))
    assert lab.leftovers() == []
    jobs = end["jobs"]
    assert {job["state"] for job in jobs} == {"done"}
    runs = {number: job["run"] for number, job in enumerate(jobs, 1)}
    assert known.items() <= runs.items()
    assert len(set(runs.values())) == len(jobs) == 2 * (1 + kills // 2)
    assert end["kernels"]["linux-image-cloud-amd64"]["cases"] == {"same": 3}
    with sqlite3.connect(lab.state / "lab/store.sqlite") as store:
        assert store.execute("select count(*) from nights").fetchone() == (1,)
        twice = "select count(*) from cases group by run_id having count(*) != 2"
        assert store.execute(twice).fetchall() == []


def _done(lab: Lab) -> dict[int, str]:
    """The runs of the jobs that are done, by position."""
    path = lab.state / "lab/store.sqlite"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as store:
        if not store.execute("select 1 from sqlite_master where name = 'jobs'").fetchone():
            return {}
        rows = store.execute("select position, run_id from jobs where state = 'done'")
        return dict(rows.fetchall())
