# SPDX-License-Identifier: GPL-2.0-or-later
"""A night: a plan carried out, and where it stands.

All that happened is in the store, written as it happens: a lab that is killed is resumed by the
next one with the same plan.
"""

import json
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from lab.artifacts.kernel import ensure_kernel
from lab.artifacts.qemu import ensure_qemu
from lab.errors import LabError
from lab.farm.job import JobEnd, run_job, run_of
from lab.farm.plan import Job, Plan, jobs
from lab.guest import registry
from lab.host import dirs, lock
from lab.results.store.feed import RefusedRun, feed, take
from lab.results.store.schema import JobRow, NightRow, RunRow
from lab.suites.request import Request

PENDING, DONE, FAILED, LEFT_OUT = "pending", "done", "failed", "left out"

OnJob = Callable[[JobRow, int], None]
"""Told a job as it begins and as it ends, and how many there are."""


def place(night: str) -> Path:
    """The directory of a night, with what its runs printed."""
    return dirs.state("nights", night)


def carry_out(
    session: Session, plan: Plan, progress: Callable[[str], None], on_job: OnJob
) -> NightRow:
    """Begin a night, or resume one that was interrupted, and carry it out to its end.

    Raises HostError if another lab is at this plan.
    """
    with lock.held(dirs.state("nights") / f"{plan.name}.lock", deadline=0):
        registry.sweep()
        night = unfinished(session, plan) or _begin(session, plan)
        broken = _build(session, night, progress)
        for row in night.jobs:
            if row.state == PENDING:
                why = broken.get(row.kernel) or broken.get(row.qemu_name, "")
                _carry_out(session, plan, night, row, why, on_job)
        night.ended = datetime.now(UTC)
        session.commit()
    return night


def unfinished(session: Session, plan: Plan) -> NightRow | None:
    """The night of this very plan that was interrupted on this host, if the last one was."""
    last = session.scalars(
        select(NightRow)
        .where(
            NightRow.plan == plan.name, NightRow.host == socket.gethostname(),
            NightRow.version == "",
        )
        .order_by(NightRow.started.desc())
        .limit(1)
    ).first()  # fmt: skip
    return last if last and last.ended is None and last.digest == plan.digest else None


def spent(night: NightRow) -> float:
    """Seconds that its runs have taken, interruptions left out."""
    return sum(row.seconds for row in night.jobs)


def _begin(session: Session, plan: Plan) -> NightRow:
    night = new_night(plan, jobs(plan), datetime.now(UTC), socket.gethostname())
    session.add(night)
    session.commit()
    return night


def new_night(plan: Plan, wanted: Sequence[Job], now: datetime, host: str) -> NightRow:
    """The rows of a night that begins."""
    name = f"{now:%Y%m%d-%H%M%S}-{plan.name}-{secrets.token_hex(2)}"
    night = NightRow(
        id=name, host=host, plan=plan.name,
        digest=plan.digest, document=plan.model_dump_json(), started=now, ended=None,
    )  # fmt: skip
    night.jobs = [row_of(number, job) for number, job in enumerate(wanted, 1)]
    return night


def row_of(position: int, job: Job) -> JobRow:
    """A row of the store for a job that waits."""
    asked = job.request
    return JobRow(
        position=position, kernel=asked.kernel, qemu_name=asked.qemu, baseline=job.baseline,
        profile=asked.profile, suite=asked.suite, args=json.dumps(asked.options),
        repetition=job.repetition, state=PENDING,
        run_id=None, seconds=0.0, said="",
    )  # fmt: skip


def as_job(row: JobRow) -> Job:
    """What a row of the store asks for."""
    options = tuple(json.loads(row.args))
    request = Request(row.profile, row.suite, options, kernel=row.kernel, qemu=row.qemu_name)
    return Job(request, row.baseline, row.repetition)


def _build(session: Session, night: NightRow, progress: Callable[[str], None]) -> dict[str, str]:
    """Build what is still needed; the kernels and QEMUs that cannot be had, with the reason."""
    broken = {}
    pending = [row for row in night.jobs if row.state == PENDING]
    wanted: dict[str, Callable[[str, Callable[[str], None]], object]] = {
        **{row.qemu_name: ensure_qemu for row in pending if row.qemu_name},
        **{row.kernel: ensure_kernel for row in pending},
    }
    for reference, ensure in wanted.items():
        try:
            ensure(reference, progress)
        except LabError as error:
            broken[reference] = str(error)
    return broken


def _carry_out(
    session: Session, plan: Plan, night: NightRow, row: JobRow, broken: str, on_job: OnJob
) -> None:
    total = len(night.jobs)
    token = f"{night.id}/{row.position}"
    # The lab that began it may have been killed between the run's end and its entry here.
    ended = JobEnd(run_of(token), "")
    if not ended.run and broken:
        ended = JobEnd("", broken)
    elif not ended.run and spent(night) >= plan.budget:
        row.state = LEFT_OUT
        session.commit()
        return
    elif not ended.run:
        on_job(row, total)
        start = time.monotonic()
        ended = run_job(as_job(row).request, token, place(night.id) / str(row.position))
        row.seconds = time.monotonic() - start
    row.run_id = ended.run or None
    row.said = ended.said
    row.state = FAILED if ended.said else DONE
    feed(session)
    if run := session.get(RunRow, ended.run):
        row.seconds = row.seconds or run.seconds
    elif ended.run:
        _tell_why_left_out(session, row, ended.run)
    session.commit()
    on_job(row, total)


def _tell_why_left_out(session: Session, row: JobRow, run: str) -> None:
    """A job whose run the store does not take has failed: nothing can be said of its cases."""
    try:
        take(session, run)
    except RefusedRun as error:
        row.state, row.said = FAILED, row.said or str(error)
