# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hundred workers at one PostgreSQL: python -m benchmarks.many_hosts [RUNS [WORKERS]]

The runs are a real night's rows and tasks, made by defer(); the workers are coroutines with a
connection each, that make the statements of lab.farm.hosts.claim, of Procrastinate and of a
worker's heartbeat, and sleep for as long as a run of the store took, scaled so that the mean is
MEAN seconds: the database meets in minutes what a night asks of it in hours.  PostgreSQL is as it
comes, with fsync.  Writes docs/many-hosts.png, with matplotlib (pip install matplotlib).
"""

import asyncio
import json
import os
import random
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, quantiles

import psycopg
from sqlalchemy import select

from lab.farm.hosts.deferral import defer
from lab.farm.plan import Plan, PlannedKernel, PlannedSuite
from lab.results.store.database import session
from lab.results.store.schema import RunRow
from tests import postgres

MEAN = 0.9
"""Seconds that a simulated run lasts in the mean."""

BEAT = 10.0
"""Seconds between two heartbeats, as with the lease by default."""

PICTURE = Path(__file__).resolve().parent.parent / "docs/many-hosts.png"
_WITHOUT_A_STORE = (9.0, 12.0, 14.0, 20.0, 31.0, 45.0, 60.0, 180.0, 600.0)
"""Seconds that runs take, where the store has none."""

_FETCH = "select id, args from procrastinate_fetch_job_v2(%s, %s)"
_CLAIM = """
select state, attempts from jobs where id = %(job)s for update;
"""
_AGE = """
select n.document, extract(epoch from now() - n.started) from nights n
join jobs j on j.night_id = n.id where j.id = %(job)s
"""
_BEGUN = """
update jobs set state = 'running', host = %(host)s, attempts = attempts + 1
where id = %(job)s returning attempts
"""
_ENDED = """
update jobs set state = 'done', run_id = %(run)s, seconds = %(seconds)s
where id = %(job)s and attempts = 1 and state = 'running'
"""
_RUN = """
insert into runs (id, host, started, seconds, suite, profile, kernel, release, qemu, qemu_name,
                  accelerator, options, error, plant)
values (%(run)s, %(host)s, now(), %(seconds)s, 's', 'p', 'k', 'r', 'q', 'host', 'tcg', '', '', '')
"""
_CASES = """
insert into cases (run_id, name, attempt, status, seconds, reason, known, rules)
select %(run)s, 'case ' || n, 1, 'pass', 1, '', '', '{}' from generate_series(1, 20) n
"""
_OVER = """
update nights set ended = now() where ended is null and version != '' and not exists (
    select 1 from jobs where jobs.night_id = nights.id and jobs.state in ('pending', 'running'))
"""
_FINISH = "select procrastinate_finish_job_v1(%s, 'succeeded', false)"


@dataclass
class Measured:
    """What came of it."""

    claims: list[tuple[float, float]] = field(default_factory=list)
    """When, and how long each took, in seconds."""
    runs: list[tuple[float, float]] = field(default_factory=list)
    """When each run began, and how long it lasted, in seconds."""
    idle_at: list[float] = field(default_factory=list)
    """When each worker found nothing any more."""


def durations() -> list[float]:
    """Seconds that the runs of this host's store took, scaled."""
    with session() as store:
        known = [value for value in store.scalars(select(RunRow.seconds)) if value > 0]
    known = known if len(known) >= 20 else list(_WITHOUT_A_STORE)
    print(f"{len(known)} durations, mean {mean(known):.0f} s", file=sys.stderr)
    return [MEAN * value / mean(known) for value in known]


async def simulated(url: str, workers: int, lasting: list[float]) -> Measured:
    """Have workers carry out all that waits."""
    measured, start = Measured(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(workers):
            group.create_task(_worker(url, number, lasting, measured, start))
    return measured


async def _worker(
    url: str, number: int, lasting: list[float], measured: Measured, start: float
) -> None:
    drawn = random.Random(number)
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=1)
    async with connection:
        row = await (
            await connection.execute("select procrastinate_register_worker_v1()")
        ).fetchone()
        assert row is not None
        worker = row[0]
        beat = time.monotonic() + drawn.uniform(0, BEAT)
        # As hosts come: not all in the same instant.
        await asyncio.sleep(drawn.uniform(0, 2 * MEAN))
        while True:
            if time.monotonic() > beat:
                await connection.execute("select procrastinate_update_heartbeat_v1(%s)", (worker,))
                beat += BEAT
            began = time.monotonic()
            task = await _claimed(connection, worker, f"host{number}")
            if task is None:
                measured.idle_at.append(time.monotonic() - start)
                return
            measured.claims.append((began - start, time.monotonic() - began))
            seconds = drawn.choice(lasting)
            measured.runs.append((time.monotonic() - start, seconds))
            await asyncio.sleep(seconds)
            await _end(connection, *task, seconds, f"host{number}")


async def _claimed(
    connection: psycopg.AsyncConnection[tuple[object, ...]], worker: object, host: str
) -> tuple[int, int] | None:
    """A task and its job; None where nothing waits."""
    row = await (await connection.execute(_FETCH, (None, worker))).fetchone()
    if row is None or row[0] is None:
        return None
    (job,) = row[1]["jobs"]  # type: ignore[index]
    async with connection.transaction():
        for statement in (_CLAIM, _AGE, _BEGUN):
            await connection.execute(statement, {"job": job, "host": host})
    return int(str(row[0])), job


async def _end(
    connection: psycopg.AsyncConnection[tuple[object, ...]],
    task: int,
    job: int,
    seconds: float,
    host: str,
) -> None:
    values = {"job": job, "run": f"run{job}", "seconds": seconds, "host": host}
    async with connection.transaction():
        for statement in (_ENDED, _RUN, _CASES):
            await connection.execute(statement, values)
    await connection.execute(_OVER)
    await connection.execute(_FINISH, (task,))


def draw(measured: Measured, workers: int, path: Path) -> None:
    """Claims a second, and how long they took, over time."""
    from matplotlib import pyplot

    whole = int(max(when for when, _ in measured.claims)) + 1
    rate = [0] * whole
    for when, _ in measured.claims:
        rate[int(when)] += 1
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5))
    above.plot(range(whole), rate, linewidth=1)
    above.set_ylabel("claims a second")
    above.set_title(f"{workers} workers, {len(measured.claims)} runs, one PostgreSQL")
    below.semilogy(*zip(*((when, 1000 * took) for when, took in measured.claims), strict=True),
                   ".", markersize=1)  # fmt: skip
    below.axhline(100, linewidth=0.8, color="red")
    below.set_ylabel("a claim, ms")
    below.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(runs: int = 20_000, workers: int = 200) -> None:
    """Simulate, print JSON, draw."""
    lasting = durations()
    suites = tuple(
        PlannedSuite(suite="copy-faults", args=("--seed", str(number)), repeat=100)
        for number in range(runs // 100)
    )
    plan = Plan(
        name="simulated", kernels=(PlannedKernel(kernel="debian", baseline=True),),
        profiles=("nvme-copy",), suites=suites,
    )  # fmt: skip
    with postgres.cluster("max_connections = 400\nfsync = on\n") as server:
        os.environ["LAB_STORE"] = server.database("lab")
        began = time.monotonic()
        with session() as store:
            defer(store, plan, print)
        deferred = time.monotonic() - began
        processor = time.process_time()
        measured = asyncio.run(simulated(os.environ["LAB_STORE"], workers, lasting))
        processor = time.process_time() - processor
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Until the first worker found nothing: after that some have nothing to do.
    until = min(measured.idle_at)
    inside = [took for when, took in measured.claims if when < until]
    busy = sum(min(when + took, until) - when for when, took in measured.runs if when < until)
    share = quantiles(inside, n=100)
    took = max(measured.idle_at)
    print(
        json.dumps(
            {
                "runs": len(measured.claims),
                "workers": workers,
                "deferred in s": round(deferred, 1),
                "s": round(took, 1),
                "claims/s": round(len(inside) / until),
                "claim p50 ms": round(1000 * share[49], 1),
                "claim p99 ms": round(1000 * share[98], 1),
                "busy % until the queue was empty": round(100 * busy / (workers * until), 1),
                "processor s of PostgreSQL": round(spent.ru_utime + spent.ru_stime),
                "processor s of the simulated workers": round(processor),
            },
            indent=1,
        )
    )
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / PICTURE.name
        draw(measured, workers, made)
        PICTURE.write_bytes(made.read_bytes())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
