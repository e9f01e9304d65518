# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers as processes, with a real PostgreSQL; their runs are short and have no guest."""

from pathlib import Path

from lab.farm.hosts.deferral import defer
from lab.farm.outcome import document, outcome
from lab.farm.plan import Plan
from lab.results.store.database import session
from lab.results.store.schema import NightRow
from tests.unit.hosts.crew import crew, until_over


def test_a_night_is_carried_out_by_workers(store: str, plan: Plan, tmp_path: Path) -> None:
    with session() as opened:
        night = defer(opened, plan, print).id
    with crew(tmp_path, store, "a", "b") as hands:
        until_over(night, hands)
    with session() as opened:
        row = opened.get_one(NightRow, night)
        told = document(row, outcome(opened, row))
    assert [job["state"] for job in told["jobs"]] == ["done"] * 4
    assert {job["host"] for job in told["jobs"]} <= {"a", "b"}
    assert {job["attempts"] for job in told["jobs"]} == {1}
    assert len({job["run"] for job in told["jobs"]}) == 4
    assert told["kernels"]["debian-sid"]["cases"] == {"regressed": 1}
