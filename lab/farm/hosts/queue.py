# SPDX-License-Identifier: GPL-2.0-or-later
"""The queue of runs: Procrastinate's tables in the store's PostgreSQL.

What counts is in the lab's own rows (lab.farm.hosts.claim); a task in the queue only brings a
worker to them.  So nothing is lost where a task is carried out twice, or not at all.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata, resources
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate import sql as statements
from procrastinate.exceptions import ConnectorException
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
    with connection(session) as raw:
        _bring_up(raw)
    session.commit()


def _bring_up(raw: psycopg.Connection[Any]) -> None:
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


@contextmanager
def connection(session: Session) -> Iterator[psycopg.Connection[Any]]:
    """The connection of a session's transaction, as Procrastinate takes it.  Raises HostError."""
    found = session.connection().connection.driver_connection
    assert isinstance(found, psycopg.Connection)
    try:
        yield found
    except psycopg.Error as error:
        raise HostError(f"the queue in the store: {error}", hint="check the database") from error
    except ConnectorException as error:
        said = error.__cause__ or error
        raise HostError(f"the queue in the store: {said}", hint="check the database") from error


def ask(session: Session, statement: str, values: Mapping[str, Any]) -> Sequence[Any]:
    """The rows that one of Procrastinate's statements, or one in their style, finds."""
    return session.connection().exec_driver_sql(statement, dict(values)).all()


def put(session: Session, tasks: Sequence[Task]) -> list[int]:
    """Add tasks to the queue within the session's transaction; their numbers."""
    manager = JobManager(SyncPsycopgConnector())
    with connection(session) as raw:
        added = manager.batch_defer_jobs(list(tasks), connection=raw)
    return [task.id for task in added if task.id is not None]


def task(queue: str, priority: int, jobs: Sequence[int]) -> Task:
    """A task for the jobs with these ids, which need the same."""
    return Task(
        queue=queue, priority=priority, lock=None, queueing_lock=None, task_name=TASK,
        task_kwargs={"jobs": list(jobs)},
    )  # fmt: skip


def abort(session: Session, task: int) -> None:
    """Take a task out of the queue, or have the worker that has it end it."""
    with connection(session) as raw:
        JobManager(SyncPsycopgConnector()).cancel_job_by_id(task, abort=True, connection=raw)


def retry(session: Session, task: int, attempts: int) -> bool:
    """Give a task that a worker has, and has begun so often before, back to the queue; whether that
    is still so, and nobody else is at it."""
    held = ask(
        session,
        "select id from procrastinate_jobs where id = %(task)s and status = 'doing'"
        " and attempts = %(attempts)s for update skip locked",
        {"task": task, "attempts": attempts},
    )
    if not held:
        return False
    unchanged = {"retry_at": None, "new_priority": None, "new_queue_name": None, "new_lock": None}
    ask(session, statements.queries["retry_job"], {"job_id": task, **unchanged})
    return True


def stalled(session: Session, lease: float) -> list[tuple[int, int]]:
    """The tasks of workers whose last heartbeat is older than `lease` seconds, each with how often
    it was tried before; as Procrastinate's get_stalled_jobs() finds them."""
    asked = {"queue": None, "task_name": TASK, "seconds_since_heartbeat": lease}
    rows = ask(session, statements.queries["select_stalled_jobs_by_heartbeat"], asked)
    return [(row.id, row.attempts) for row in rows]


def tasks_of(session: Session, worker: int) -> list[tuple[int, int]]:
    """The same of the tasks that the worker of that number has."""
    rows = ask(
        session,
        "select id, attempts from procrastinate_jobs"
        " where worker_id = %(worker)s and status = 'doing' and task_name = %(task)s",
        {"worker": worker, "task": TASK},
    )
    return [(row.id, row.attempts) for row in rows]


def waits(session: Session, queues: Sequence[str]) -> bool:
    """Whether a task waits in one of these queues."""
    rows = ask(
        session,
        "select 1 from procrastinate_jobs"
        " where status = 'todo' and queue_name = any(%(queues)s) limit 1",
        {"queues": list(queues)},
    )
    return bool(rows)


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
