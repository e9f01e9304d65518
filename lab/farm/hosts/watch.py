# SPDX-License-Identifier: GPL-2.0-or-later
"""Following a night that workers carry out, from anywhere; to end the following ends nothing."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from lab.errors import HostError
from lab.farm.hosts.claim import RUNNING
from lab.farm.hosts.deferral import nowhere
from lab.farm.hosts.needs import Needs
from lab.farm.hosts.roster import present
from lab.farm.night import PENDING, as_job
from lab.results.store.database import away, session
from lab.results.store.schema import JobRow, NightRow, WorkerRow

INTERVAL = 2.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class Standing:
    """How a job of a night stood when it was looked at."""

    state: str
    host: str
    attempts: int
    lost: tuple[str, ...]


def follow(night: str, say: Callable[[str], None]) -> None:
    """Tell what becomes of a night until it has ended.  A database that goes away is waited for."""
    told: dict[int, Standing] = {}
    told_away = ""
    stuck: list[str] = []
    while True:
        try:
            with session() as store:
                row = store.get(NightRow, night, populate_existing=True)
                assert row is not None
                for line in changes(list(row.jobs), told):
                    say(line)
                if row.ended is not None:
                    return
                now_stuck = list(waiting_for_nobody(store, row))
            for line in now_stuck:
                if line not in stuck:
                    say(line)
            stuck, told_away = now_stuck, ""
        except HostError as error:
            if not away(error):
                raise
            if error.message != told_away:
                say(f"{error.message}; waiting for it")
                told_away = error.message
        time.sleep(INTERVAL)


def changes(rows: list[JobRow], told: dict[int, Standing]) -> Iterator[str]:
    """A line for each job that stands otherwise than was told, which is written down in `told`."""
    for row in rows:
        stands = Standing(row.state, row.host, row.attempts, tuple(row.lost))
        before = told.get(row.position, Standing(PENDING, "", 0, ()))
        told[row.position] = stands
        if stands == before:
            continue
        words = f"[{row.position}/{len(rows)}] {as_job(row).title}"
        for host in stands.lost[len(before.lost) :]:
            yield f"{words}: {host} is lost, begun again"
        if (stands.state, stands.host) != (before.state, before.host) and stands.state != PENDING:
            yield words + _ending(row)


def _ending(row: JobRow) -> str:
    if row.state == RUNNING:
        return f": on {row.host}"
    words = f": {row.state}"
    if row.seconds:
        words += f" after {row.seconds:.0f} s on {row.host}"
    return words + (f": {row.said.splitlines()[-1]}" if row.said else "")


def waiting_for_nobody(store: Session, night: NightRow) -> Iterator[str]:
    """A line for all runs that wait alike and that no worker can take, with why each cannot."""
    waiting = [job for job in night.jobs if job.state == PENDING]
    if not waiting:
        return
    workers = present(store)
    if not workers:
        yield f"no worker is there for {len(waiting)} runs: lab worker, on any host"
        return
    for line, count in Counter(_told_of(workers, waiting)).items():
        yield f"{count} runs can go nowhere: {line}"


def _told_of(workers: Sequence[WorkerRow], waiting: Sequence[JobRow]) -> Iterator[str]:
    for job in waiting:
        if why := nowhere(workers, Needs.model_validate(job.needs)):
            yield f"{job.suite} on {job.profile}: {'; '.join(why)}"


def newest(store: Session) -> NightRow | None:
    """The latest night that was left to workers."""
    asked = select(NightRow).where(NightRow.version != "").order_by(NightRow.started.desc())
    return store.scalars(asked.limit(1)).first()
