# SPDX-License-Identifier: GPL-2.0-or-later
"""What the pages plot of earlier runs."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from lab.results.site.draw.plots import History
from lab.results.store.schema import CaseRow, RunRow

PLOTTED = 30
"""Runs in a plot, outcomes in a case's history."""


def durations(session: Session, suite: str, profile: str) -> History:
    """Seconds of the last runs of a suite on a profile."""
    rows = session.execute(
        select(RunRow.started, RunRow.seconds)
        .where(RunRow.suite == suite, RunRow.profile == profile, RunRow.error == "")
        .order_by(RunRow.id.desc())
        .limit(PLOTTED)
    )
    return _history((started, seconds) for started, seconds in rows)


def boots(session: Session, profile: str, kernel: str) -> History:
    """Seconds that the last guests of a profile took to boot a kernel."""
    rows = session.execute(
        select(RunRow.started, RunRow.boot)
        .where(RunRow.profile == profile, RunRow.kernel == kernel, RunRow.boot.is_not(None))
        .order_by(RunRow.id.desc())
        .limit(PLOTTED)
    )
    return _history((started, seconds) for started, seconds in rows)


def _history(latest: Iterable[tuple[datetime, float | None]]) -> History:
    found = [(started, value) for started, value in latest if value is not None][::-1]
    ends = [f"{started:%Y-%m-%d}" for started, _ in (found[:1] + found[-1:])]
    first, last = ends or ("", "")
    return History(tuple(value for _, value in found), first, last)


def outcomes(session: Session, run: RunRow, name: str) -> list[str]:
    """What came of a case before and in this run on its profile, oldest first.

    A defect that was planted is no history of a run without it.
    """
    statuses = session.scalars(
        select(CaseRow.status)
        .join(CaseRow.run)
        .where(
            CaseRow.name == name, RunRow.suite == run.suite, RunRow.profile == run.profile,
            RunRow.plant == run.plant, RunRow.id <= run.id,
        )
        .order_by(RunRow.id.desc(), CaseRow.attempt.desc())
        .limit(PLOTTED)
    )  # fmt: skip
    return list(statuses)[::-1]
