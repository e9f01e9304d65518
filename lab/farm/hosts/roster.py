# SPDX-License-Identifier: GPL-2.0-or-later
"""The workers that there are, as they tell it in the store themselves."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session, aliased

from lab.errors import HostError
from lab.farm.hosts.claim import now
from lab.farm.hosts.needs import Offer
from lab.host import dirs
from lab.host.dirs import not_writable
from lab.results.store.schema import NightRow, WorkerRow

_OTHERS = aliased(WorkerRow)


@dataclass(frozen=True)
class Presence:
    """How a worker presents itself."""

    name: str
    guests: int
    """Runs at a time."""
    lease: float
    """Seconds."""
    offer: Offer


def enrol(session: Session, who: Presence) -> int | None:
    """Write a worker down; the number in the queue of the one of its name that ran here before it
    and was killed.  Commits.

    Raises HostError where another host has the name, or where this lab is of another version than
    the night that is under way.
    """
    _check_version(session, who.offer.version)
    mine, row = _identity(who.name), session.get(WorkerRow, who.name, with_for_update=True)
    known = row is not None and row.identity == mine
    if row is not None and not known and row.queue_id is not None and _alive(session, row):
        raise HostError(
            f"there is a worker {who.name} already, on another host or with another state"
            " directory",
            hint="give this one a name of its own: lab worker --name",
        )
    former = row.queue_id if row is not None and known else None
    at = now(session)
    if row is None:
        row = WorkerRow(name=who.name)
        session.add(row)
    row.identity, row.version, row.guests = mine, who.offer.version, who.guests
    row.offer, row.lease, row.says, row.queue_id = (
        who.offer.model_dump(mode="json"),
        who.lease,
        "",
        None,
    )
    row.started = row.seen = at
    session.commit()
    return former


def sign(session: Session, name: str, queue_id: int | None, says: str) -> None:
    """A word from a worker: its number in the queue, None at its end.  Commits."""
    row = session.get(WorkerRow, name, with_for_update=True)
    if row is not None:
        row.queue_id, row.says, row.seen = queue_id, says, now(session)
    session.commit()


def sweeps(session: Session, name: str, lease: float) -> bool:
    """Whether it is this worker's turn to look for those that are lost: nobody has for a while.
    Commits."""
    recently = exists().where(_OTHERS.swept > func.now() - timedelta(seconds=lease / 3))
    turn = session.scalar(
        update(WorkerRow)
        .where(WorkerRow.name == name, ~recently)
        .values(swept=func.now())
        .returning(WorkerRow.name)
    )
    session.commit()
    return turn is not None


def present(session: Session) -> Sequence[WorkerRow]:
    """The workers that are alive as far as anybody knows, by name."""
    rows = session.scalars(
        select(WorkerRow).where(WorkerRow.queue_id.is_not(None)).order_by(WorkerRow.name)
    ).all()
    return [row for row in rows if _alive(session, row)]


def _alive(session: Session, row: WorkerRow) -> bool:
    return now(session) - row.seen < timedelta(seconds=row.lease)


def _check_version(session: Session, version: str) -> None:
    under_way = select(NightRow).where(NightRow.ended.is_(None), NightRow.version != "")
    nights = session.scalars(under_way.order_by(NightRow.started)).all()
    if nights and all(night.version != version for night in nights):
        raise HostError(
            f"this lab is {version}, and {nights[0].id} is a night of lab {nights[0].version}: "
            "another version might not come to the same results",
            hint=f"install lab {nights[0].version} here, or wait for the night's end",
        )


def _identity(name: str) -> str:
    """What tells this worker from one of the same name elsewhere, drawn at first use."""
    path = dirs.state("workers") / f"{name}.identity"
    try:
        if not path.exists():
            new = path.with_suffix(".new")
            new.write_text(secrets.token_hex(16))
            new.replace(path)
        return path.read_text()
    except OSError as error:
        raise not_writable(path, error) from error


def postmaster_age(session: Session) -> float:
    """Seconds since the database was started."""
    up = func.now() - func.pg_postmaster_start_time()
    age = session.scalar(select(func.extract("epoch", up)))
    assert age is not None
    return float(age)
