# SPDX-License-Identifier: GPL-2.0-or-later
"""The queue of runs: Procrastinate's tables in the store's PostgreSQL.

What counts is in the lab's own rows (lab.farm.hosts.claim); a task in the queue only brings a
worker to them.  So nothing is lost where a task is carried out twice, or not at all.
"""

import re
from collections.abc import Mapping, Sequence
from importlib import metadata, resources
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate import sql as statements
from procrastinate.jobs import Job as Task
from procrastinate.manager import JobManager
from procrastinate.schema import SchemaManager
from sqlalchemy import make_url
from sqlalchemy.orm import Session

from lab.errors import HostError, UsageError
from lab.results.store.database import LIVELY, VARIABLE, alone, shared, url

TASK = "lab.run"
"""The one kind of task: jobs of a night, by the ids of their rows."""

_MIGRATION = re.compile(r"(\d+)\.(\d+)\.(\d+)_(\d+)_.*\.sql")
"""Of Procrastinate, named by the version that brought it."""


def require() -> None:
    """Raise UsageError where the store is none that workers can share."""
    if not shared():
        raise UsageError(
            f"{VARIABLE}: the store is no PostgreSQL, and of this host alone",
            hint=f"{VARIABLE}=postgresql://USER@HOST/DATABASE; or `lab nightly PLAN`, which then "
            "carries its runs out itself",
        )


def app(connections: int) -> App:
    """Procrastinate on the store's database, with at most so many connections."""
    name = make_url(url()).set(drivername="postgresql").render_as_string(hide_password=False)
    connector = PsycopgConnector(
        conninfo=name, kwargs=dict(LIVELY), min_size=1, max_size=connections, timeout=10.0
    )
    return App(connector=connector)


def prepare(session: Session) -> None:
    """Make the queue's tables, or bring them up to this Procrastinate.  Commits.

    Raises HostError where a later one has made them.
    """
    alone(session.connection())
    raw = connection(session)
    ours, theirs = _version(metadata.version("procrastinate")), _made_by(raw)
    if theirs is None:
        raw.execute(SchemaManager.get_schema())
    elif theirs > ours:
        raise HostError(
            f"the queue of the store is of Procrastinate {_words(theirs)},"
            f" and this lab has {_words(ours)}",
            hint="update this lab's Python environment",
        )
    elif theirs < ours:
        for script in _between(theirs, ours):
            raw.execute(script)
    if theirs != ours:
        # Procrastinate does not write down which of its migrations were made.
        raw.execute(f"comment on table procrastinate_jobs is 'procrastinate {_words(ours)}'")
    session.commit()


def connection(session: Session) -> psycopg.Connection[Any]:
    """The connection of a session's transaction, as Procrastinate takes it."""
    found = session.connection().connection.driver_connection
    assert isinstance(found, psycopg.Connection)
    return found


def put(session: Session, tasks: Sequence[Task]) -> list[int]:
    """Add tasks to the queue within the session's transaction; their numbers."""
    manager = JobManager(SyncPsycopgConnector())
    added = manager.batch_defer_jobs(list(tasks), connection=connection(session))
    return [task.id for task in added if task.id is not None]


def task(queue: str, priority: int, jobs: Sequence[int]) -> Task:
    """A task for the jobs with these ids, which need the same."""
    return Task(
        queue=queue, priority=priority, lock=None, queueing_lock=None, task_name=TASK,
        task_kwargs={"jobs": list(jobs)},
    )  # fmt: skip


def abort(session: Session, task: int) -> None:
    """Take a task out of the queue, or have the worker that has it end it."""
    JobManager(SyncPsycopgConnector()).cancel_job_by_id(
        task, abort=True, connection=connection(session)
    )


def retry(session: Session, task: int, attempts: int) -> bool:
    """Give a task that a worker has, and has begun so often before, back to the queue; whether that
    is still so, and nobody else is at it."""
    raw = connection(session)
    held = raw.execute(
        "select id from procrastinate_jobs where id = %s and status = 'doing' and attempts = %s"
        " for update skip locked",
        (task, attempts),
    )
    if held.fetchone() is None:
        return False
    unchanged = {"retry_at": None, "new_priority": None, "new_queue_name": None, "new_lock": None}
    raw.execute(statements.queries["retry_job"], {"job_id": task, **unchanged})
    return True


def waits(session: Session, queues: Sequence[str]) -> bool:
    """Whether a task waits in one of these queues."""
    row = connection(session).execute(
        "select exists (select 1 from procrastinate_jobs"
        " where status = 'todo' and queue_name = any(%s))",
        (list(queues),),
    )
    return bool((row.fetchone() or (False,))[0])


def _made_by(raw: psycopg.Connection[Any]) -> tuple[int, ...] | None:
    """The version of the Procrastinate that made the tables; None where there are none."""
    row = raw.execute(
        "select to_regclass('procrastinate_jobs'),"
        " obj_description(to_regclass('procrastinate_jobs'), 'pg_class')"
    ).fetchone()
    assert row is not None
    table, said = row
    if table is None:
        return None
    if not said:
        raise HostError(
            "the store's database has tables of Procrastinate that no lab has made",
            hint=f"give the lab a database, or a schema, of its own: {VARIABLE}",
        )
    return _version(str(said).rpartition(" ")[2])


def _between(theirs: tuple[int, ...], ours: tuple[int, ...]) -> list[str]:
    """Procrastinate's own migrations from one version to another."""
    found: Mapping[tuple[int, ...], str] = {
        tuple(map(int, named.groups())): script.read_text()
        for script in (resources.files("procrastinate.sql") / "migrations").iterdir()
        if (named := _MIGRATION.fullmatch(script.name))
    }
    return [found[key] for key in sorted(found) if theirs < key[:3] <= ours]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3])


def _words(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
