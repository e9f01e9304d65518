# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has a job of a night, and what it may write about it.

A claim has a number, which goes up each time that somebody begins the job.  Only the claim with
the latest one may say how the job ended, in the transaction that also enters the run: a worker
that was taken for lost and comes back late says nothing.  All is decided in the database, by its
rows and its clock.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lab.farm.hosts.needs import Needs
from lab.farm.job import JobEnd
from lab.farm.night import DONE, FAILED, LEFT_OUT, PENDING, as_job
from lab.farm.plan import Plan
from lab.results.store.feed import RefusedRun, take
from lab.results.store.schema import JobRow, NightRow
from lab.suites.request import Request

RUNNING = "running"
LEFT = (PENDING, RUNNING)
"""The states of jobs that have not ended."""

ATTEMPTS = 5
"""Workers that may be lost with a job before it is given up: it may be what ends them."""


@dataclass(frozen=True)
class Claim:
    """A job that a worker has begun."""

    job: int
    night: str
    position: int
    number: int
    request: Request
    needs: Needs

    @property
    def token(self) -> str:
        """What the run's timeline has of it; see lab.results.runs.fenced()."""
        return f"{self.night}/{self.position}@{self.number}"


class Collision(Exception):
    """The run has the id of another host's, and cannot be entered."""


def claim(session: Session, job: int, host: str) -> Claim | None:
    """Begin a job; None where it is not to be begun: it has ended, another has it, or the night's
    budget is spent.  Commits."""
    row = session.get(JobRow, job, with_for_update=True, populate_existing=True)
    if row is None or row.state != PENDING:
        session.commit()
        return None
    night = row.night
    age = session.scalar(
        select(func.extract("epoch", func.now() - NightRow.started)).where(NightRow.id == night.id)
    )
    if age is not None and age >= Plan.model_validate_json(night.document).budget:
        row.state = LEFT_OUT
        session.commit()
        end_nights(session)
        return None
    row.state, row.host, row.attempts = RUNNING, host, row.attempts + 1
    session.commit()
    needs, request = Needs.model_validate(row.needs), as_job(row).request
    return Claim(row.id, night.id, row.position, row.attempts, request, needs)


def accept(session: Session, held: Claim, ended: JobEnd, seconds: float, host: str) -> bool:
    """Write how a job ended, and its run, if the claim is still the one that counts; whether it is.

    A job whose run the store does not take has failed.  Commits.  Raises Collision; asked again
    after a commit of which nobody knows whether it was made, it says the same.
    """
    row = session.get(JobRow, held.job, with_for_update=True, populate_existing=True)
    if row is None or row.attempts != held.number or row.state != RUNNING:
        session.commit()
        return row is not None and row.attempts == held.number and row.run_id == (ended.run or None)
    row.run_id, row.said, row.seconds = ended.run or None, ended.said, seconds
    row.state = FAILED if ended.said else DONE
    try:
        if ended.run:
            take(session, ended.run, host)
        session.flush()
    except RefusedRun as error:
        # Carried out again it would say the same.
        row.state, row.said = FAILED, row.said or str(error)
    except IntegrityError as error:
        session.rollback()
        raise Collision(ended.run) from error
    session.commit()
    end_nights(session)
    return True


def give_back(session: Session, held: Claim, why: str = "") -> None:
    """Let another begin the job, if the claim is still the one that counts.  Commits.

    `why` says what was wrong with the host; in the end it may be the job.
    """
    row = session.get(JobRow, held.job, with_for_update=True, populate_existing=True)
    if row is not None and row.attempts == held.number and row.state == RUNNING:
        begin_again(row, why)
    session.commit()
    end_nights(session)


def begin_again(row: JobRow, why: str) -> bool:
    """Let another begin a job, unless it was begun too often and each time there was something
    wrong, the last time `why`; whether another is to.

    `row` is locked by the caller, who also commits.
    """
    if why and row.attempts >= ATTEMPTS:
        row.state, row.said = FAILED, f"begun {row.attempts} times, the last time: {why}"
        return False
    row.state, row.host = PENDING, ""
    return True


def lose(session: Session, row: JobRow) -> bool:
    """Take a job from a worker that is lost; whether another is to begin it.

    `row` is locked by the caller, who also commits.
    """
    row.lost = [*row.lost, row.host]
    if row.attempts < ATTEMPTS:
        row.state, row.host = PENDING, ""
        return True
    row.state, row.host = FAILED, ""
    row.said = f"begun {row.attempts} times, and each time its worker was lost: " + ", ".join(
        row.lost
    )
    return False


def leave_out(session: Session, night: NightRow) -> None:
    """End a night: what has not ended is left out, and who has it may say nothing more."""
    rows = session.scalars(
        select(JobRow).where(JobRow.night_id == night.id, JobRow.state.in_(LEFT)).with_for_update()
    )
    for row in rows:
        row.state = LEFT_OUT
    night.ended = now(session)


def end_nights(session: Session) -> None:
    """Write of nights of which nothing is left to do that they have ended.  Commits.

    Asked behind the commit of whatever ended a job: of two that end at once the later one sees
    both, and none holds up the others.
    """
    left = exists().where(JobRow.night_id == NightRow.id, JobRow.state.in_(LEFT))
    session.execute(
        update(NightRow)
        .where(NightRow.ended.is_(None), NightRow.version != "", ~left)
        .values(ended=func.now())
        .execution_options(synchronize_session=False)
    )
    session.commit()


def now(session: Session) -> datetime:
    """The time by the database's clock, the only one that all workers agree on."""
    found: datetime | None = session.scalar(select(func.now()))
    assert found is not None
    return found
