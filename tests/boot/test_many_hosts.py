# SPDX-License-Identifier: GPL-2.0-or-later
"""A night that workers carry out on real guests, and the same on one host: two runs, or as many as
LAB_MANY_HOSTS says, by two workers, each with a state directory of its own."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import postgres
from tests.boot.conftest import TWO_KERNELS, Lab, make_lab

RUNS = int(os.environ.get("LAB_MANY_HOSTS", "2"))


@pytest.fixture
def store() -> Iterator[str]:
    if postgres.programs() is None:
        pytest.skip("no PostgreSQL is installed: sudo apt-get install postgresql")
    with postgres.cluster() as made:
        yield made.database("lab")


def hosts(place: Path, store: str) -> list[Lab]:
    """Two labs that know nothing of each other but the store."""
    made = [make_lab(place / name) for name in ("one", "two")]
    for lab in made:
        settings = lab.state / "config/lab/config.yaml"
        settings.parent.mkdir(parents=True)
        # Whatever else this machine does.
        settings.write_text("worker: {load: 1000}\n")
        lab.env.update(LAB_STORE=store, XDG_CONFIG_HOME=str(settings.parent.parent))
    return made


def drained(labs: list[Lab], deadline: float) -> list[str]:
    """Have workers carry out what waits; what they said."""
    workers = [
        lab.start("worker", "--name", lab.state.name, "--drain", "--labels", "test") for lab in labs
    ]
    try:
        said = [worker.communicate(timeout=deadline)[1] for worker in workers]
    except subprocess.TimeoutExpired:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        raise
    assert [worker.returncode for worker in workers] == [0, 0], said
    return said


def alike(night: dict[str, Any]) -> dict[str, Any]:
    """A night but for who did it, when, and how long it took."""
    own = ("host", "attempts", "lost", "seconds", "run")
    return {
        "jobs": [{k: v for k, v in job.items() if k not in own} for job in night["jobs"]],
        "kernels": {
            name: {key: one[key] for key in ("cases", "rules", "changes", "warnings")}
            for name, one in night["kernels"].items()
        },
    }


def test_two_hosts_come_to_what_one_comes_to(store: str, tmp_path: Path) -> None:
    plan = tmp_path / "small.yaml"
    plan.write_text(TWO_KERNELS.format(repeat=max(1, RUNS // 2)))
    labs = hosts(tmp_path, store)
    away = make_lab(tmp_path / "away")
    away.env.update(LAB_STORE=store)
    told = away("nightly", str(plan))
    assert "runs are left to workers" in told.stdout
    assert "no worker is there" in told.stderr
    assert "is under way" in away("nightly", str(plan), status=2).stderr
    said = drained(labs, 300 + 60 * RUNS)
    # From anywhere: this lab has neither guests nor runs.
    night = json.loads(away("nightly", "--watch", "--json").stdout)
    assert [job["state"] for job in night["jobs"]] == ["done"] * len(night["jobs"]), said
    assert {job["host"] for job in night["jobs"]} <= {"one", "two"}
    assert night["kernels"]["linux-image-cloud-amd64"]["cases"] == {"same": 3}
    for lab in labs:
        assert lab.leftovers() == []
    if RUNS > 2:
        alone = make_lab(tmp_path / "alone")
        one = json.loads(alone("nightly", str(plan), "--json", deadline=300 + 60 * RUNS).stdout)
        assert alike(one) == alike(night)
