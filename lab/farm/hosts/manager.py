# SPDX-License-Identifier: GPL-2.0-or-later
"""Procrastinate's manager of jobs, as a worker of the lab needs it.

It hands out what this host can carry out, and only while it may begin something; it outlives a
database that goes away; and what it says of a task counts only while this worker has it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg
from procrastinate.connector import BaseAsyncConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job as Task
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from psycopg_pool import PoolTimeout

_T = TypeVar("_T")

AWAY = (ConnectorException, psycopg.Error, PoolTimeout, TimeoutError, OSError)
"""What a database that cannot be asked just now ends a question with."""

PAUSE = 1.0
"""Seconds between two questions to a database that is away."""

_HELD = """
select w.id, (
    select coalesce(json_agg(json_build_array(j.id, j.attempts)), '[]') from procrastinate_jobs j
    where j.worker_id = w.id and j.status = 'doing') as held
from procrastinate_workers w where w.id = %(worker_id)s
"""
_STILL_HELD = """
with held as (
    select id from procrastinate_jobs
    where id = %(task)s and status = 'doing' and worker_id = %(worker)s and attempts = %(attempts)s
    for update)
"""

TaskKey = tuple[int, int]
"""A task in the hands of a worker: its number, and how often it was tried before."""


@dataclass
class TaskSource:
    """Where a worker's tasks come from, and what has become of those that it has."""

    queues: Callable[[], list[str]]
    """Those of runs that this host can carry out; empty while it may begin nothing."""
    lease: float
    """Seconds."""
    worker_id: int | None = None
    held: set[TaskKey] = field(default_factory=set)
    lost: set[TaskKey] = field(default_factory=set)
    """What was taken away: what is made of it counts no more."""
    forgotten: bool = False
    """Whether the database knows this worker no more."""
    away: bool = False
    """Whether the database did not answer the last time."""
    giving_up: bool = False
    """Whether the worker is ending, and waits for no database."""


def key_of(task: Task) -> TaskKey:
    """What tells this hand-over of a task from others."""
    assert task.id is not None
    return task.id, task.attempts


class WorkerManager(JobManager):
    """The manager of one worker."""

    def __init__(self, connector: BaseAsyncConnector, source: TaskSource) -> None:
        super().__init__(connector)
        self._source = source

    async def register_worker(self) -> int:
        """As Procrastinate does it, once the database answers."""
        source = self._source
        source.worker_id = await self._patiently(super().register_worker)
        source.forgotten = False
        return source.worker_id

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:
        """As Procrastinate does it, once the database answers."""
        return await self._patiently(lambda: super(WorkerManager, self).prune_stalled_workers(
            seconds_since_heartbeat))  # fmt: skip

    async def unregister_worker(self, worker_id: int) -> None:
        """As Procrastinate does it, if the database answers: nothing depends on it."""
        try:
            async with asyncio.timeout(self._source.lease):
                await super().unregister_worker(worker_id)
        except AWAY:
            self._source.away = True

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Task | None:
        """The next task that this host can carry out; None while it may begin nothing, or the
        database is away."""
        source = self._source
        try:
            async with asyncio.timeout(max(5.0, source.lease)):
                wanted = await asyncio.to_thread(source.queues)
                task = await super().fetch_job(wanted, worker_id) if wanted else None
        except AWAY:
            source.away = True
            return None
        if task:
            source.held.add(key_of(task))
        return task

    async def update_heartbeat(self, worker_id: int) -> None:
        """A heartbeat, and a look at which tasks are still this worker's."""
        source = self._source
        before = set(source.held)
        try:
            async with asyncio.timeout(max(1.0, source.lease / 3)):
                await super().update_heartbeat(worker_id)
                rows = await self.connector.execute_query_all_async(_HELD, worker_id=worker_id)
        except AWAY:
            source.away = True
            return
        source.away, source.forgotten = False, not rows
        still = {(task, attempts) for task, attempts in rows[0]["held"]} if rows else set()
        source.lost |= before - still & source.held

    async def finish_job(self, job: Task, status: Status, delete_job: bool) -> None:
        """Write how a task ended, if it is still this worker's."""
        await self._settle(
            job, "select procrastinate_finish_job_v1(held.id, %(status)s, false) from held",
            status=status.value,
        )  # fmt: skip

    async def retry_job(self, job: Task, *_: object, **__: object) -> None:
        """Give a task back, if it is still this worker's."""
        await self._settle(
            job, "select procrastinate_retry_job_v2(held.id, null, null, null, null) from held"
        )

    async def listen_for_jobs(self, *args: object, **more: object) -> None:
        """As Procrastinate does it, and anew after the database was away."""
        while True:
            try:
                await super().listen_for_jobs(*args, **more)  # type: ignore[arg-type]
            except AWAY:
                await asyncio.sleep(PAUSE)

    async def _settle(self, job: Task, statement: str, **values: object) -> None:
        source = self._source
        try:
            await self._patiently(
                lambda: self.connector.execute_query_all_async(
                    _STILL_HELD + statement,
                    task=job.id, worker=source.worker_id, attempts=job.attempts, **values,
                )
            )  # fmt: skip
        except AWAY:
            pass  # This worker is ending; others sweep what it could not settle.
        finally:
            source.held.discard(key_of(job))
            source.lost.discard(key_of(job))

    async def _patiently(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """The answer to a question, asked until the database answers."""
        while True:
            try:
                async with asyncio.timeout(max(10.0, self._source.lease)):
                    return await ask()
            except AWAY:
                self._source.away = True
                if self._source.giving_up:
                    raise
                await asyncio.sleep(PAUSE)
