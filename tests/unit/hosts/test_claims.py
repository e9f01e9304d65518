# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may say how a job ended, in a real PostgreSQL; nobody runs anything here."""

import json
import os
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from lab.errors import HostError, UsageError
from lab.farm.hosts import claim as claims
from lab.farm.hosts import queue
from lab.farm.hosts.claim import ATTEMPTS, Claim, Collision
from lab.farm.hosts.deferral import batched, defer, priority_of, stop, under_way
from lab.farm.hosts.needs import Needs, Offer
from lab.farm.hosts.roster import Presence, enrol, present, sign, sweeps
from lab.farm.hosts.sweep import sweep
from lab.farm.hosts.watch import changes, waiting_for_nobody
from lab.farm.job import JobEnd
from lab.farm.plan import Plan, jobs
from lab.results import runs
from lab.results.run import PROFILE, TOKEN, Run
from lab.results.store.database import session
from lab.results.store.feed import RunLeftOut, feed
from lab.results.store.schema import JobRow, NightRow, RunRow
from tests.unit.hosts.conftest import TEXT, plan_in

OFFER = Offer(version="0.2.0", memory=8 << 30)


def deferred(plan: Plan) -> str:
    with session() as store:
        return defer(store, plan, print).id


def first(store: Session) -> JobRow:
    row = store.scalars(select(JobRow).order_by(JobRow.id).limit(1)).first()
    assert row is not None
    return row


def taken(host: str) -> Claim:
    """A claim on the first job."""
    with session() as store:
        found = claims.claim(store, first(store).id, host)
    assert found is not None
    return found


def ran(held: Claim, name: str = "write:1 eio") -> JobEnd:
    """A run that ended, as the worker that has a claim makes it."""
    os.environ[TOKEN] = held.token
    with Run("nvme-copy", "copy-faults") as run:
        run.write(PROFILE, json.dumps({"kernel": "debian", "machine": {"qemu": "host"}}))
        case = {"name": name, "number": 1, "verdict": "holds", "rules": {}}
        run.finish({"suite": "copy-faults", "profile": "nvme-copy", "cases": [case]})
    return JobEnd(run.id, "", 0)


def accept(held: Claim, ended: JobEnd, host: str) -> bool:
    with session() as store:
        return claims.accept(store, held, ended, 1.0, host)


def lose_first() -> None:
    """As the sweep does it with the first job."""
    with session() as store:
        claims.lose(store, first(store))


def fetched(worker: int) -> int:
    """The task that a worker of Procrastinate's gets."""
    with session() as store:
        row = store.execute(
            text("select id from procrastinate_fetch_job_v2(null, :worker)"), {"worker": worker}
        ).first()
    assert row is not None
    return int(row[0])


def registered(age: float = 0.0) -> int:
    """A worker of Procrastinate's whose last heartbeat is some seconds ago."""
    with session() as store:
        row = store.execute(
            text(
                "insert into procrastinate_workers (last_heartbeat)"
                " values (now() - make_interval(secs => :age)) returning id"
            ),
            {"age": age},
        ).first()
    assert row is not None
    return int(row[0])


def test_who_was_taken_for_lost_says_nothing_any_more(store: str, plan: Plan) -> None:
    deferred(plan)
    late = taken("a")
    late_run = ran(late, "by a")
    lose_first()
    now = taken("b")
    assert (late.number, now.number) == (1, 2)
    assert not accept(late, late_run, "a")
    now_run = ran(now, "by b")
    assert accept(now, now_run, "b")
    # Whichever comes first.
    assert not accept(late, late_run, "a")
    with session() as opened:
        row = first(opened)
        assert (row.state, row.run_id, row.host, row.lost) == ("done", now_run.run, "b", ["a"])
        # Nor does anything else of that host enter it.
        assert feed(opened) == []
        assert [run.id for run in opened.scalars(select(RunRow))] == [now_run.run]
        assert opened.get_one(RunRow, now_run.run).host == "b"


def test_a_commit_of_which_nobody_knows_can_be_asked_again(store: str, plan: Plan) -> None:
    deferred(plan)
    held = taken("a")
    ended = ran(held)
    assert accept(held, ended, "a")
    assert accept(held, ended, "a")
    with session() as opened:
        assert opened.scalar(select(func.count()).select_from(RunRow)) == 1


def test_a_job_is_begun_by_one_alone(store: str, plan: Plan) -> None:
    deferred(plan)
    taken("a")
    with session() as opened:
        assert claims.claim(opened, first(opened).id, "b") is None


def test_what_is_given_back_is_begun_again_and_nobody_is_called_lost(
    store: str, plan: Plan
) -> None:
    deferred(plan)
    held = taken("a")
    with session() as opened:
        claims.give_back(opened, held)
        assert (first(opened).state, first(opened).host) == ("pending", "")
    again = taken("b")
    # Who gave it back has no more to say.
    with session() as opened:
        claims.give_back(opened, held)
        assert first(opened).state == "running"
    assert accept(again, JobEnd("", "the guest died"), "b")
    with session() as opened:
        assert (first(opened).state, first(opened).lost) == ("failed", [])


def test_what_ends_every_worker_is_given_up(store: str, plan: Plan) -> None:
    deferred(plan)
    for number in range(ATTEMPTS):
        taken(f"host{number}")
        lose_first()
    with session() as opened:
        row = first(opened)
        assert row.state == "failed"
        assert row.said.startswith("begun 5 times, and each time its worker was lost: host0, host1")


def test_two_runs_of_one_name_are_not_both_entered(store: str, plan: Plan) -> None:
    deferred(plan)
    one = taken("a")
    ended = ran(one)
    assert accept(one, ended, "a")
    with session() as opened:
        second = opened.scalars(select(JobRow).order_by(JobRow.id).offset(1).limit(1)).one()
        other = claims.claim(opened, second.id, "b")
    assert other is not None
    with pytest.raises(Collision):
        accept(other, ended, "b")
    with session() as opened:
        rows = opened.scalars(select(JobRow).order_by(JobRow.id)).all()
        assert [row.state for row in rows] == ["done", "running", "pending", "pending"]


def test_a_job_whose_run_the_store_does_not_take_has_failed(store: str, plan: Plan) -> None:
    deferred(plan)
    held = taken("a")
    # A guest may have said that name.
    ended = ran(held, "x" * 600)
    assert accept(held, ended, "a")
    assert accept(held, ended, "a")
    with session() as opened:
        row = first(opened)
        assert (row.state, row.run_id, row.attempts) == ("failed", ended.run, 1)
        assert row.said.startswith(f"the store does not take run {ended.run}: value too long")
        assert opened.scalar(select(func.count()).select_from(RunRow)) == 0


def test_a_run_that_postgresql_refuses_keeps_no_other_out(store: str) -> None:
    made = []
    for kernel, name in (("k" * 300, "a"), ("debian", "x" * 600), ("debian", "a")):
        with Run("nvme-copy", "copy-faults") as run:
            run.write(PROFILE, json.dumps({"kernel": kernel}))
            case = {"name": name, "number": 1, "verdict": "holds", "rules": {}}
            run.finish({"suite": "copy-faults", "profile": "nvme-copy", "cases": [case]})
        made.append(run.id)
    with session() as opened, pytest.warns(RunLeftOut) as told:
        assert feed(opened) == made[2:]
    # Of runs of one second the names are drawn.
    assert len(told) == 2
    assert all(any(run in str(each.message) for each in told) for run in made[:2])


def test_a_night_ends_with_its_last_job(store: str, plan: Plan) -> None:
    night = deferred(plan)
    with session() as opened:
        ids = list(opened.scalars(select(JobRow.id).order_by(JobRow.id)))
    for number, job in enumerate(ids):
        with session() as opened:
            assert opened.get_one(NightRow, night).ended is None
            held = claims.claim(opened, job, "a")
        assert held is not None
        assert accept(held, JobEnd("", f"failure {number}"), "a")
    with session() as opened:
        assert opened.get_one(NightRow, night).ended is not None
        assert under_way(opened) is None


def test_after_the_budget_nothing_is_begun(store: str, tmp_path: Path) -> None:
    night = deferred(plan_in(tmp_path, TEXT + "budget: 1h\n"))
    with session() as opened:
        opened.execute(text("update nights set started = started - interval '61 minutes'"))
        assert claims.claim(opened, first(opened).id, "a") is None
        assert first(opened).state == "left out"
        assert opened.get_one(NightRow, night).ended is None


def test_a_night_that_is_stopped_takes_no_more_results(store: str, plan: Plan) -> None:
    night = deferred(plan)
    held = taken("a")
    ended = ran(held)
    with session() as opened:
        assert stop(opened, opened.get_one(NightRow, night)) == 4
    assert not accept(held, ended, "a")
    with session() as opened:
        row = opened.get_one(NightRow, night)
        assert row.ended is not None
        assert {job.state for job in row.jobs} == {"left out"}
        left = opened.execute(text("select distinct status::text from procrastinate_jobs")).all()
        assert left == [("cancelled",)]


def test_one_night_of_a_plan_at_a_time(store: str, plan: Plan) -> None:
    night = deferred(plan)
    with pytest.raises(UsageError, match=f"{night} is under way"):
        deferred(plan)


def test_the_sweep_takes_from_the_dead_alone(
    store: str, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferred(plan)
    dead, alive = registered(age=100), registered()
    tasks = [fetched(dead), fetched(alive)]
    with session() as opened:
        for task in tasks:
            job = opened.scalars(select(JobRow).where(JobRow.task == task)).one()
            assert claims.claim(opened, job.id, f"host{tasks.index(task)}")
    with session() as opened:
        monkeypatch.setattr("lab.farm.hosts.sweep.postmaster_age", lambda _: 1000.0)
        swept = sweep(opened, 30)
        assert [(one.position, one.host, one.again) for one in swept] == [(1, "host0", True)]
        assert sweep(opened, 30) == []
        states = list(opened.scalars(select(JobRow.state).order_by(JobRow.id)))
    assert states == ["pending", "running", "pending", "pending"]
    assert fetched(alive) == tasks[0]


def test_a_database_that_was_away_makes_no_worker_dead(
    store: str, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferred(plan)
    fetched(registered(age=100))
    monkeypatch.setattr("lab.farm.hosts.sweep.postmaster_age", lambda _: 10.0)
    with session() as opened:
        claims.claim(opened, first(opened).id, "a")
        assert sweep(opened, 30) == []
        assert first(opened).state == "running"


def test_a_worker_that_comes_again_takes_from_its_former_self(store: str, plan: Plan) -> None:
    deferred(plan)
    who = Presence("a", 2, 30.0, OFFER)
    with session() as opened:
        assert enrol(opened, who) is None
        number = registered()
        sign(opened, "a", number, "")
    fetched(number)
    taken("a")
    with session() as opened:
        former = enrol(opened, who)
        assert former == number
        assert [one.host for one in sweep(opened, 30, former)] == ["a"]


def test_a_job_whose_task_is_gone_gets_another(store: str, plan: Plan) -> None:
    deferred(plan)
    worker = registered()
    task = fetched(worker)
    taken("a")
    with session() as opened:
        opened.execute(
            text("select procrastinate_finish_job_v1(:task, 'failed', false)"), {"task": task}
        )
    with session() as opened:
        sweep(opened, 30)
        assert first(opened).state == "pending"
        assert first(opened).task not in (None, task)
    assert {fetched(worker) for _ in range(4)} > {task + 1}


def test_a_job_whose_task_ends_without_a_word_each_time_is_given_up(store: str, plan: Plan) -> None:
    night = deferred(plan)
    for number in range(1, ATTEMPTS + 1):
        with session() as opened:
            task, job = first(opened).task, first(opened).id
            assert claims.claim(opened, job, f"host{number}")
            opened.execute(text("update procrastinate_jobs set status = 'failed' where id = :task"),
                           {"task": task})  # fmt: skip
        with session() as opened:
            sweep(opened, 30)
            states = [each.state for each in opened.get_one(NightRow, night).jobs]
            assert states == ["pending" if number < ATTEMPTS else "failed", *["pending"] * 3]
    with session() as opened:
        said = "begun 5 times, the last time: its task on host5 ended and said nothing"
        assert first(opened).said == said


def test_one_worker_at_a_time_sweeps(store: str) -> None:
    with session() as opened:
        queue.prepare(opened)
        for name in ("a", "b"):
            enrol(opened, Presence(name, 1, 30.0, OFFER))
        assert [sweeps(opened, name, 30.0) for name in ("a", "b", "a")] == [True, False, False]
        opened.execute(text("update workers set swept = swept - interval '11 seconds'"))
        assert [sweeps(opened, name, 30.0) for name in ("b", "a")] == [True, False]


def test_two_hosts_of_one_name(
    store: str, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = Presence("a", 2, 30.0, OFFER)
    with session() as opened:
        queue.prepare(opened)
        enrol(opened, who)
        sign(opened, "a", registered(), "")
        assert [worker.name for worker in present(opened)] == ["a"]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    with session() as opened, pytest.raises(HostError, match="there is a worker a already"):
        enrol(opened, who)


def test_a_lab_of_another_version_is_refused_with_words(store: str, plan: Plan) -> None:
    night = deferred(plan)
    other = Presence("b", 1, 30.0, Offer(version="9.9", memory=8 << 30))
    with session() as opened, pytest.raises(HostError) as caught:
        enrol(opened, other)
    assert f"this lab is 9.9, and {night} is a night of lab 0.2.0" in str(caught.value)
    assert "install lab 0.2.0 here" in str(caught.value)


def test_a_run_that_can_go_nowhere_is_told_at_once(store: str, tmp_path: Path) -> None:
    plan = plan_in(tmp_path, TEXT + "labels: [bigmem]\n")
    with session() as opened:
        night = defer(opened, plan, print)
        assert list(waiting_for_nobody(opened, night)) == [
            "no worker is there for 4 runs: lab worker, on any host"
        ]
        small = Offer(version="0.2.0", memory=1 << 30, labels=("bigmem",))
        for name, offer in (("a", OFFER), ("b", small)):
            enrol(opened, Presence(name, 1, 30.0, offer))
            sign(opened, name, registered(), "")
        assert list(waiting_for_nobody(opened, night)) == [
            "4 runs can go nowhere: copy-faults on nvme-copy: a: no label bigmem; "
            "b: 1.2 GiB of memory needed, it has 1.0 GiB"
        ]
        enrol(opened, Presence("a", 1, 30.0, OFFER.model_copy(update={"labels": ("bigmem",)})))
        sign(opened, "a", registered(), "")
        assert list(waiting_for_nobody(opened, night)) == []


def test_who_follows_is_told_once_of_each_thing(store: str, plan: Plan) -> None:
    night = deferred(plan)
    told: dict[int, object] = {}

    def lines() -> list[str]:
        with session() as opened:
            return list(changes(list(opened.get_one(NightRow, night).jobs), told))  # type: ignore[arg-type]

    assert lines() == []
    taken("a")
    assert lines() == ["[1/4] copy-faults on nvme-copy, debian: on a"]
    assert lines() == []
    lose_first()
    held = taken("b")
    assert lines() == [
        "[1/4] copy-faults on nvme-copy, debian: a is lost, begun again",
        "[1/4] copy-faults on nvme-copy, debian: on b",
    ]
    accept(held, JobEnd("", "the guest died\nof age"), "b")
    assert lines() == ["[1/4] copy-faults on nvme-copy, debian: failed after 1 s on b: of age"]


def test_the_longest_run_goes_first_after_what_the_plan_prefers() -> None:
    order = sorted([(0, 5.0), (0, 500.0), (0, None), (3, 1.0), (-1, 9e9)],
                   key=lambda each: -priority_of(*each))  # fmt: skip
    assert order == [(3, 1.0), (0, None), (0, 500.0), (0, 5.0), (-1, 9e9)]


def test_short_runs_go_to_a_worker_together(tmp_path: Path) -> None:
    wanted = jobs(plan_in(tmp_path, TEXT, repeat=20))
    rows = [JobRow(expected=5.0, needs={"memory": 1}) for _ in wanted]
    rows[7].expected, rows[20].expected = 100.0, None
    sizes = [len(batch) for batch in batched(list(zip(rows, wanted, strict=True)), guests=1)]
    assert sum(sizes) == 40
    assert sizes == [7, 1, 12, 1, 12, 7]
    # Many guests: each is to have something to do.
    rows = [JobRow(expected=5.0, needs={"memory": 1}) for _ in wanted]
    sizes = [len(batch) for batch in batched(list(zip(rows, wanted, strict=True)), guests=10)]
    assert sizes == [1] * 40


def test_the_queue_of_somebody_else_is_left_alone(store: str) -> None:
    with psycopg.connect(store) as raw:
        raw.execute("create table procrastinate_jobs (id int)")
    with session() as opened, pytest.raises(HostError, match="that no lab has made"):
        queue.prepare(opened)


def test_a_queue_of_another_procrastinate(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with session() as opened:
        queue.prepare(opened)
        opened.execute(text("comment on table procrastinate_jobs is 'procrastinate 99.0.0'"))
        opened.commit()
        with pytest.raises(HostError, match=r"of Procrastinate 99\.0\.0, and this lab has 3\.10"):
            queue.prepare(opened)
        opened.rollback()
        opened.execute(text("comment on table procrastinate_jobs is 'procrastinate 3.9.0'"))
        opened.commit()
        monkeypatch.setattr(queue, "_between", lambda *_: ["create table made_later (id int)"])
        queue.prepare(opened)
        monkeypatch.setattr(queue, "_between", lambda *_: ["nothing is done twice"])
        queue.prepare(opened)
        assert opened.scalar(text("select count(*) from made_later")) == 0


def test_procrastinates_own_migrations_lead_from_version_to_version() -> None:
    assert len(queue._between((3, 2, 0), (3, 4, 0))) == 3
    assert queue._between((3, 4, 0), (3, 10, 0)) == []


def test_sqlite_is_of_one_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no PostgreSQL"):
        queue.require()


def test_the_queue_has_the_needs_in_its_name() -> None:
    one, same = Needs(memory=1, cpus=2, labels=("a",)), Needs(memory=1, cpus=2, labels=("a",))
    assert one.queue == same.queue != Needs(memory=1, cpus=2).queue
    assert one.queue.startswith("lab 0.2.0 ")
    assert runs.fenced("n/1@2") and not runs.fenced("n/1")
