# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a job will take, from what jobs and runs like it took."""

from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from lab.farm.night import DONE, row_of
from lab.farm.plan import Job
from lab.results.store.schema import JobRow, RunRow

SAMPLES = 10


def seconds(session: Session, job: Job) -> float | None:
    """The median of the last jobs that did the same, on whatever kernel; else that of the last
    runs of the suite on the profile; None where there is no history."""
    row = row_of(0, job)
    same = (
        select(JobRow.seconds)
        .where(
            JobRow.suite == row.suite, JobRow.profile == row.profile, JobRow.args == row.args,
            JobRow.state == DONE,
        )
        .order_by(JobRow.id.desc())
    )  # fmt: skip
    alike = (
        select(RunRow.seconds)
        .where(RunRow.suite == row.suite, RunRow.profile == row.profile, RunRow.error == "")
        .order_by(RunRow.id.desc())
    )
    for question in (same, alike):
        if taken := list(session.scalars(question.limit(SAMPLES))):
            return median(taken)
    return None
