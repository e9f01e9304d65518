# SPDX-License-Identifier: GPL-2.0-or-later
"""What a night came to: each kernel, in each QEMU, against the night's baseline."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lab.errors import UsageError
from lab.farm.night import DONE, FAILED
from lab.results.baseline import Comparison, compared
from lab.results.news import Night
from lab.results.store.schema import JobRow, NightRow, RunRow
from lab.suites.request import under_test


def outcome(session: Session, night: NightRow) -> dict[str, Comparison]:
    """Comparisons with the baseline by what is under test, a kernel or a kernel in a QEMU; what
    has no run that ended has none."""
    base = _runs(session, [job for job in night.jobs if job.baseline])
    others: dict[str, list[JobRow]] = {}
    for job in night.jobs:
        if not job.baseline:
            others.setdefault(under_test(job.kernel, job.qemu_name), []).append(job)
    found = {}
    for name, jobs in others.items():
        try:
            found[name] = compared(session, base, _runs(session, jobs))
        except UsageError:
            continue  # one of the two did not get so far
    return found


def exit_status(night: NightRow, found: Mapping[str, Comparison]) -> int:
    """3 if the lab failed anywhere, 1 if a kernel is worse than the baseline."""
    if any(job.state == FAILED for job in night.jobs):
        return 3
    return int(any(comparison.exit_status for comparison in found.values()))


def document(night: NightRow, found: Mapping[str, Comparison]) -> dict[str, Any]:
    """The night's JSON."""
    return {
        "night": night.id,
        "plan": json.loads(night.document),
        "started": night.started.isoformat(),
        "jobs": [
            {
                "kernel": job.kernel, "qemu": job.qemu_name or None, "baseline": job.baseline,
                "profile": job.profile, "suite": job.suite, "args": json.loads(job.args),
                "repetition": job.repetition, "state": job.state, "run": job.run_id,
                "seconds": round(job.seconds, 3), "said": job.said or None,
                "host": job.host or None, "attempts": job.attempts, "lost": job.lost,
            }
            for job in night.jobs
        ],
        "kernels": {kernel: comparison.document() for kernel, comparison in found.items()},
    }  # fmt: skip


def last_night(session: Session) -> Night | None:
    """The latest night of all plans, with the night of its plan before it."""
    night = session.scalars(_LATEST.limit(1)).first()
    return with_before(session, night) if night else None


def with_before(session: Session, night: NightRow) -> Night:
    """A night with what it came to, and what the night of its plan before it did."""
    earlier = _LATEST.where(NightRow.plan == night.plan, NightRow.started < night.started)
    before = session.scalars(earlier.limit(1)).first()
    return Night(night, outcome(session, night), outcome(session, before) if before else {})


_LATEST = select(NightRow).order_by(NightRow.started.desc())


def _runs(session: Session, jobs: Iterable[JobRow]) -> list[RunRow]:
    ids = [job.run_id for job in jobs if job.state == DONE]
    runs = [session.get(RunRow, run) for run in ids if run]
    return [run for run in runs if run]
