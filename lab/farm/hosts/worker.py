# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker: takes runs from the queue that its host can carry out, so many at a time."""

import asyncio
import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NoReturn, TypeVar

from procrastinate import App, BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.exceptions import JobAborted
from procrastinate.jobs import Job as Task
from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from lab.artifacts.kernels.brought import VARIABLE as KERNELS
from lab.errors import HostError, LabError
from lab.farm.hosts import claim as claims
from lab.farm.hosts import evidence, queue
from lab.farm.hosts.claim import Claim, Collision
from lab.farm.hosts.gate import closed, starved
from lab.farm.hosts.manager import PAUSE, TaskKey, TaskSource, WorkerManager, key_of
from lab.farm.hosts.needs import Needs, refusals
from lab.farm.hosts.roster import Presence, enrol, sign, sweeps
from lab.farm.hosts.sweep import Swept, sweep
from lab.farm.job import JobEnd, Unwanted, run_job
from lab.farm.night import place
from lab.farm.plan import Plan
from lab.farm.retention import trim
from lab.guest import registry
from lab.host import dirs, lock
from lab.host.settings import WorkerSettings
from lab.results import runs
from lab.results.store.database import Store, away
from lab.results.store.schema import JobRow, NightRow

POLL = 2.0
"""Seconds between two looks for tasks that nobody has told of: those given back."""

_FRESH = 1.0
"""Seconds for which the nights that are under way are taken for known."""

_LOOK = 0.25
"""Seconds between two looks at whether the worker is to end."""

_T = TypeVar("_T")

Say = Callable[[str], None]


class Worker:
    """Carries out runs until it is told to end; `settings` say when it begins none."""

    def __init__(self, who: Presence, settings: WorkerSettings, say: Say, *, drain: bool) -> None:
        self._who = who
        self._settings = settings
        self._say = say
        self._drain = drain
        self._source = TaskSource(self._queues, who.lease)
        self._running: dict[TaskKey, Needs] = {}
        self._nights: dict[str, list[str]] = {}
        self._asked = -_FRESH
        self._closed = ""
        self._ending = threading.Event()
        self._store: Store

    def work(self) -> None:
        """Work until SIGTERM or Ctrl-C, or until nothing waits that this host can carry out, if it
        is to drain the queue.

        What runs when it ends is given back.  Raises HostError where the store cannot be reached at
        the start, or does not take this worker.
        """
        queue.require()
        with lock.held(dirs.state("workers") / f"{self._who.name}.lock", deadline=0):
            registry.sweep()
            self._store = Store()
            try:
                with self._store.session() as store:
                    queue.prepare(store)
                    former = enrol(store, self._who)
                    self._tell(sweep(store, self._who.lease, former))
                # What these log the worker says in its own words.
                for name in ("procrastinate", "psycopg.pool"):
                    logging.getLogger(name).addHandler(logging.NullHandler())
                    logging.getLogger(name).propagate = False
                asyncio.run(self._serve())
            finally:
                self._store.close()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(self._who.guests + 8))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._ending.set)
        self._say(f"worker {self._who.name}: {self._who.guests} at a time")
        tending = asyncio.create_task(self._tend())
        while not self._ending.is_set():
            await self._take_tasks()
        tending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tending
        await asyncio.to_thread(self._sign_off)

    async def _take_tasks(self) -> None:
        """Be Procrastinate's worker until the end, or until the database has forgotten that this is
        one: then what it had is lost."""
        app = self._app()
        try:
            await app.open_async()
        except Exception as error:  # the pool's, of several kinds
            self._say(f"the store does not answer: {error}")
            await asyncio.sleep(PAUSE)
            return
        beat = self._who.lease / 3
        serving = asyncio.create_task(
            app.run_worker_async(
                concurrency=self._who.guests, install_signal_handlers=False,
                fetch_job_polling_interval=POLL, abort_job_polling_interval=POLL,
                update_heartbeat_interval=beat, stalled_worker_timeout=100 * self._who.lease,
                shutdown_graceful_timeout=0,
            )
        )  # fmt: skip
        ended = asyncio.create_task(self._ended(beat))
        await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
        self._source.giving_up = self._ending.is_set()
        for task in (serving, ended):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        with contextlib.suppress(Exception):
            await app.close_async()

    async def _ended(self, beat: float) -> None:
        """Wait for the end, which a signal or a thread has told of."""
        while not self._ending.is_set() and not self._source.forgotten:
            await asyncio.sleep(min(beat, _LOOK))

    def _app(self) -> App:
        app = queue.app(connections=2)
        app.job_manager = WorkerManager(app.connector, self._source)  # type: ignore[arg-type]
        app.task(name=queue.TASK, pass_context=True, retry=_GiveBack())(self._carry_out)
        return app

    async def _tend(self) -> None:
        """Sweep what others were lost with, and say how it stands, as often as the heart beats."""
        while True:
            await asyncio.sleep(self._who.lease / 3)
            with contextlib.suppress(LabError):
                await asyncio.to_thread(self._look_after)

    def _look_after(self) -> None:
        with self._store.session() as store:
            sign(store, self._who.name, self._source.worker_id, self._closed)
            if sweeps(store, self._who.name, self._who.lease):
                self._tell(sweep(store, self._who.lease))
            if self._drain and not self._source.held and not self._waits(store):
                self._ending.set()

    def _sign_off(self) -> None:
        try:
            with self._store.session() as store:
                sign(store, self._who.name, None, "")
        except LabError as error:
            self._say(f"the store does not answer: {error.message}")
        self._say(f"worker {self._who.name}: ended")

    def _tell(self, swept: Sequence[Swept]) -> None:
        for one in swept:
            end = "begun again" if one.again else "given up"
            self._say(f"{one.night} {one.position}: {one.host} is lost, {end}")

    def _queues(self) -> list[str]:
        """The queues of runs that wait and that this host can carry out; none while it is busy."""
        why = closed(self._settings, list(self._running.values()))
        if why != self._closed:
            self._say(f"begins nothing: {why}" if why else "begins runs again")
            self._closed = why
        if why or self._ending.is_set():
            return []
        if time.monotonic() - self._asked > _FRESH:
            with self._store.session() as store:
                self._learn(store)
            self._asked = time.monotonic()
        return [name for known in self._nights.values() for name in known]

    def _learn(self, store: Session) -> None:
        """Look which nights are under way, and which of their runs this host can carry out."""
        under_way = store.scalars(
            select(NightRow.id).where(
                NightRow.ended.is_(None), NightRow.version == self._who.offer.version
            )
        ).all()
        self._nights = {
            night: self._nights.get(night) or self._possible(store, night) for night in under_way
        }

    def _possible(self, store: Session, night: str) -> list[str]:
        """The queues of a night from which this host may take."""
        said = select(cast(JobRow.needs, Text)).where(JobRow.night_id == night).distinct()
        wanted = [Needs.model_validate_json(text) for text in store.scalars(said)]
        return [needs.queue for needs in wanted if not [*refusals(needs, self._who.offer)]]

    def _waits(self, store: Session) -> bool:
        """Whether a run waits that this host can carry out."""
        self._learn(store)
        return queue.waits(store, [name for known in self._nights.values() for name in known])

    def _carry_out(self, context: JobContext, jobs: list[int]) -> None:
        """A task: its jobs one after the other, in a thread of its own."""
        key = key_of(context.job)

        def unwanted() -> bool:
            return context.should_abort() or key in self._source.lost

        for job in jobs:
            if unwanted():
                raise JobAborted
            held = self._ask(partial(claims.claim, job=job, host=self._who.name))
            if held is not None:
                self._carry_out_one(held, key, unwanted)

    def _carry_out_one(self, held: Claim, key: TaskKey, unwanted: Callable[[], bool]) -> None:
        title, start = f"{held.night} {held.position}", time.monotonic()
        self._say(f"{title}: {held.request.title}")
        self._running[key] = held.needs
        try:
            where = place(held.night) / f"{held.position}@{held.number}"
            ended = run_job(held.request, held.token, where, unwanted, _brought(held))
        except Unwanted:
            self._return(held, "broken off")
        except Exception as error:
            # Whatever it is, the night must come to its end.
            ended = JobEnd("", f"{type(error).__name__}: {error}")
        finally:
            del self._running[key]
        if fault := self._fault(ended):
            self._return(held, f"given back: {fault}", fault)
        seconds = time.monotonic() - start
        said = self._enter(held, ended, seconds)
        why = f": {ended.said.splitlines()[0]}" if ended.said else ""
        self._say(f"{title}: {said} after {seconds:.0f} s{why}")
        if ended.run:
            self._send(ended.run)
        self._trim(held.night)

    def _send(self, run: str) -> None:
        """Let others look at what a run left behind."""
        try:
            evidence.send(run)
        except LabError as error:
            self._say(f"the evidence of {run} stays here: {error.message}")

    def _fault(self, ended: JobEnd) -> str:
        """What of a run's failure is this host's fault, and would not be another's; '' for none."""
        if ended.status is not None and ended.status < 0:
            return f"its process was ended by {signal.Signals(-ended.status).name}"
        return starved(self._settings) if ended.said else ""

    def _enter(self, held: Claim, ended: JobEnd, seconds: float) -> str:
        """Write how a run ended; in a word, how that is."""
        name = self._who.name
        try:
            counts = self._ask(lambda store: claims.accept(store, held, ended, seconds, name))
        except Collision:
            runs.void(ended.run, "another host's run has this id")
            why = "another host's run has its id"
            self._return(held, f"given back: {why}", why)
        if counts:
            return "failed" if ended.said else "done"
        if ended.run:
            runs.void(ended.run, "superseded")
        return "too late, another has it"

    def _return(self, held: Claim, word: str, why: str = "") -> NoReturn:
        """Give a job back, and end its task; `why` it is this host's fault."""
        self._ask(lambda store: claims.give_back(store, held, why))
        self._say(f"{held.night} {held.position}: {word}")
        raise JobAborted

    def _trim(self, night: str) -> None:
        """Remove the evidence here that the plan's retention does not keep."""
        with contextlib.suppress(LabError), self._store.session() as store:
            row = store.get(NightRow, night)
            if row is not None and row.ended is not None:
                trim(store, Plan.model_validate_json(row.document))

    def _ask(self, question: Callable[[Session], _T]) -> _T:
        """The store's answer, asked until the database answers."""
        while True:
            try:
                with self._store.session() as store:
                    return question(store)
            except HostError as error:
                if not away(error):
                    raise
                if self._source.giving_up:
                    raise JobAborted from error
                time.sleep(PAUSE)


def _brought(held: Claim) -> dict[str, str]:
    """What tells `lab run` of the kernel that was brought for it."""
    if not held.needs.kernel:
        return {}
    return {KERNELS: json.dumps({held.request.kernel: held.needs.kernel})}


class _GiveBack(BaseRetryStrategy):
    """What this worker broke off because it ends is somebody else's."""

    def get_retry_decision(self, *, exception: BaseException, job: Task) -> RetryDecision | None:
        """Procrastinate asks, for what ended otherwise than well."""
        return RetryDecision(retry_in={"seconds": 0}) if isinstance(exception, JobAborted) else None
