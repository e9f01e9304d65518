# SPDX-License-Identifier: GPL-2.0-or-later
"""What workers that were lost had: taken from them, so that others begin it again.

Procrastinate shows the task of a worker that was killed as stalled once its heartbeat is old, and
does nothing about it: every worker sweeps, at its start and regularly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import String, cast, column, exists, select, table
from sqlalchemy.orm import Session

from lab.farm.hosts import queue
from lab.farm.hosts.claim import LEFT, RUNNING, begin_again, end_nights, lose
from lab.farm.hosts.deferral import priority_of
from lab.farm.hosts.needs import Needs
from lab.farm.hosts.roster import postmaster_age
from lab.results.store.schema import JobRow, NightRow


@dataclass(frozen=True)
class Swept:
    """A job that was taken from a worker."""

    night: str
    position: int
    host: str
    again: bool
    """Whether another is to begin it; else it was given up."""


def sweep(session: Session, lease: float, former: int | None = None) -> list[Swept]:
    """Take their jobs from the workers of which nothing was heard for `lease` seconds, and from
    the one with the number `former`, which is known to be dead.  Commits.

    Where the database itself was away, all heartbeats are old: it must have been there for as long.
    """
    taken = list[Swept]()
    stalled = queue.stalled(session, lease) if postmaster_age(session) > lease else []
    if former is not None:
        stalled += queue.tasks_of(session, former)
    session.commit()
    for task, attempts in stalled:
        # In a transaction of its own, and in the order in which a worker locks: first its jobs.
        rows = _jobs(session, task)
        if queue.retry(session, task, attempts):
            for row in rows:
                if row.state == RUNNING:
                    host = row.host
                    again = lose(session, row)
                    taken.append(Swept(row.night_id, row.position, host, again))
            session.commit()
        else:
            session.rollback()
    _requeue(session)
    end_nights(session)
    return taken


def _jobs(session: Session, task: int) -> Sequence[JobRow]:
    asked = select(JobRow).where(JobRow.task == task).order_by(JobRow.id)
    return session.scalars(asked.with_for_update().execution_options(populate_existing=True)).all()


def _requeue(session: Session) -> None:
    """Bring jobs back to the queue whose tasks ended without them, however that came about, or give
    them up."""
    tasks = table("procrastinate_jobs", column("id"), column("status"), column("priority"))
    at_work = exists().where(
        tasks.c.id == JobRow.task, cast(tasks.c.status, String).in_(("todo", "doing"))
    )
    asked = (
        select(JobRow)
        .join(NightRow)
        .where(
            NightRow.ended.is_(None), JobRow.state.in_(LEFT),
            JobRow.task.is_not(None), ~at_work,
        )
        .with_for_update(of=JobRow, skip_locked=True)
    )  # fmt: skip
    for row in session.scalars(asked.execution_options(populate_existing=True)).all():
        # What ends the task each time may be the job.
        why = f"its task on {row.host} ended and said nothing" if row.state == RUNNING else ""
        if not begin_again(row, why):
            continue
        needs = Needs.model_validate(row.needs)
        former = session.scalar(select(tasks.c.priority).where(tasks.c.id == row.task))
        priority = priority_of(0, row.expected) if former is None else former
        task = queue.task(needs.queue, priority, [row.id])
        (row.task,) = queue.put(session, [task])
    session.commit()
