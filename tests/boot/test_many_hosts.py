# SPDX-License-Identifier: GPL-2.0-or-later
"""A night that workers carry out on real guests, and the same on one host: two runs by two workers,
each with a state directory of its own; LAB_MANY_HOSTS=24 has as many runs carried out by three, in
network namespaces of their own, one of which is cut off for a while (as root)."""

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import namespaces, postgres
from tests.boot.conftest import LAB, TWO_KERNELS, Lab, make_lab, wait_for

RUNS = int(os.environ.get("LAB_MANY_HOSTS", "0"))
THREE = ("one", "two", "three")


@pytest.fixture
def store() -> Iterator[str]:
    if postgres.programs() is None:
        pytest.skip("no PostgreSQL is installed: sudo apt-get install postgresql")
    with postgres.cluster() as made:
        yield made.database("lab")


def hosts(place: Path, store: str, names: Sequence[str] = ("one", "two")) -> list[Lab]:
    """Labs that know nothing of each other but the store."""
    made = [make_lab(place / name) for name in names]
    for lab in made:
        settings = lab.state / "config/lab/config.yaml"
        settings.parent.mkdir(parents=True)
        # Whatever else this machine does.
        settings.write_text("worker: {load: 1000}\n")
        lab.env.update(LAB_STORE=store, XDG_CONFIG_HOME=str(settings.parent.parent))
    return made


def within(prefix: Sequence[str], place: Path) -> str:
    """A program that runs the lab behind other words."""
    path = place / "lab-within"
    path.write_text(f'#!/bin/sh\nexec {shlex.join([*prefix, LAB])} "$@"\n')
    path.chmod(0o755)
    return str(path)


def begun(labs: list[Lab]) -> list[subprocess.Popen[str]]:
    """Workers that carry out what waits."""
    return [
        lab.start("worker", "--name", lab.state.name, "--drain", "--labels", "test") for lab in labs
    ]


def ended(workers: list[subprocess.Popen[str]], deadline: float) -> list[str]:
    """What workers said, once they have ended."""
    try:
        said = [worker.communicate(timeout=deadline)[1] for worker in workers]
    except subprocess.TimeoutExpired:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        raise
    assert [worker.returncode for worker in workers] == [0] * len(workers), said
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


def test_two_hosts_come_to_what_is_planned(store: str, tmp_path: Path) -> None:
    plan = tmp_path / "small.yaml"
    plan.write_text(TWO_KERNELS.format(repeat=1))
    labs = hosts(tmp_path, store)
    away = make_lab(tmp_path / "away")
    away.env.update(LAB_STORE=store)
    told = away("nightly", str(plan))
    assert "runs are left to workers" in told.stdout
    assert "no worker is there" in told.stderr
    assert "is under way" in away("nightly", str(plan), status=2).stderr
    said = ended(begun(labs), 600)
    # From anywhere: this lab has neither guests nor runs.
    night = json.loads(away("nightly", "--watch", "--json").stdout)
    assert [job["state"] for job in night["jobs"]] == ["done"] * len(night["jobs"]), said
    assert {job["host"] for job in night["jobs"]} <= {"one", "two"}
    assert night["kernels"]["linux-image-cloud-amd64"]["cases"] == {"same": 3}
    for lab in labs:
        assert lab.leftovers() == []


@pytest.mark.skipif(not RUNS or os.geteuid() != 0, reason="LAB_MANY_HOSTS=24, as root: 10 minutes")
def test_hosts_one_of_which_is_cut_off_come_to_what_one_comes_to(tmp_path: Path) -> None:
    plan = tmp_path / "night.yaml"
    plan.write_text(TWO_KERNELS.format(repeat=RUNS // 2))
    settings = f"listen_addresses = '127.0.0.1,{namespaces.ADDRESS}'\n"
    with (
        namespaces.namespaces(THREE) as inside,
        postgres.cluster(settings, f"{namespaces.NETWORK}.0/24") as made,
    ):
        made.database("lab")
        url = made.url("lab", host=namespaces.ADDRESS)
        labs = [
            replace(lab, program=within(inside[lab.state.name], lab.state))
            for lab in hosts(tmp_path, url, THREE)
        ]
        away = make_lab(tmp_path / "away")
        away.env.update(LAB_STORE=made.url("lab"))
        away("nightly", str(plan))
        workers = begun(labs)
        with psycopg.connect(made.url("lab"), autocommit=True) as store:

            def running(on: str) -> list[tuple[int]]:
                query = "select id from jobs where host = %s and state = 'running'"
                return store.execute(query, [on]).fetchall()

            wait_for(lambda: running("two"), "a run on the second host", 300)
            namespaces.cut(THREE.index("two"), whole=False)
            wait_for(lambda: not running("two"), "its run to be taken from it", 300)
            namespaces.cut(THREE.index("two"), whole=True)
        said = ended(workers, 300 + 60 * RUNS)
        night = json.loads(away("nightly", "--watch", "--json").stdout)
    assert [job["state"] for job in night["jobs"]] == ["done"] * RUNS, said
    assert {job["host"] for job in night["jobs"]} == set(THREE)
    assert sum(job["attempts"] for job in night["jobs"]) > RUNS
    alone = make_lab(tmp_path / "alone")
    one = json.loads(alone("nightly", str(plan), "--json", deadline=300 + 60 * RUNS).stdout)
    assert alike(one) == alike(night)
    for lab in (*labs, alone):
        assert lab.leftovers() == []
