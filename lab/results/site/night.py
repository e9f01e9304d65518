# SPDX-License-Identifier: GPL-2.0-or-later
"""What the page of a night shows: what is new, one matrix of all, and what changed."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lab.results.baseline import Comparison
from lab.results.compare import BAD, ChangeKind, ItemDifference
from lab.results.news import Night, bad, sentence
from lab.results.site.executed import ExecutedShown
from lab.results.site.history import boots, durations
from lab.results.store.schema import CaseRow, JobRow, RunRow

_ORDER = (
    ChangeKind.REGRESSED, ChangeKind.NEW_FAILING, ChangeKind.FIXED, ChangeKind.FLAKY,
    ChangeKind.STILL_FAILING, ChangeKind.NOT_RUN,
)  # fmt: skip

_WORST = ("pass", "notrun", "fell back", "fail", "crashed", "hung")
"""Statuses by what one would look at first, the last one."""


@dataclass
class NightCell:
    """What came of a suite on a profile on a kernel, all its runs together: `statuses` counts
    cases, `worse` those that are worse than the baseline."""

    runs: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    worse: int = 0

    @property
    def kind(self) -> str:
        """Its colour: `lab` where the lab failed, `worse`, a status, or `none`."""
        if self.states["failed"]:
            return "lab"
        if self.worse:
            return "worse"
        found = [each for each in self.statuses if self.statuses[each]]
        rank = {status: place for place, status in enumerate(_WORST)}
        # A status that this page does not know is none to be passed over.
        return max(found, key=lambda each: rank.get(each, 1), default="none")

    def words(self) -> Iterator[str]:
        """What stands in it."""
        if self.states["failed"]:
            yield "the lab failed"
        if self.worse:
            yield f"{self.worse} worse"
        yield from (f"{count} {status}" for status, count in self.statuses.most_common())
        waiting = {state: self.states[state] for state in ("pending", "left out")}
        yield from (state for state, count in waiting.items() if count)


@dataclass(frozen=True)
class NightMatrix:
    """Suites on profiles by kernels in QEMUs."""

    columns: list[str]
    rows: dict[tuple[str, str, str], dict[str, NightCell]]
    """By suite, profile and arguments."""


def told(session: Session, night: Night) -> dict[str, Any]:
    """What the night's template needs."""
    jobs = night.row.jobs
    runs = {job.run_id: session.get(RunRow, job.run_id) for job in jobs if job.run_id}
    what = dict.fromkeys((job.suite, job.profile) for job in jobs)
    guests = dict.fromkeys((job.profile, job.kernel) for job in jobs)
    news = night.news()
    return {
        "night": night.row,
        "plan": json.loads(night.row.document),
        "headline": night.headline(),
        "mood": "bad" if news else "odd" if night.failed() or not night.found else "good",
        "news": [sentence(kernel, one) for kernel, one in news],
        "matrix": _matrix(session, night),
        "warnings": dict.fromkeys(
            warning for found in night.found.values() for warning in found.warnings
        ),
        "kernels": {kernel: _changes(found) for kernel, found in night.found.items()},
        "runs": runs,
        "durations": [(*each, durations(session, *each)) for each in what],
        "boots": [(*each, boots(session, *each)) for each in guests],
        "executed": ExecutedShown.of([run for run in runs if run]),
        "failed": [job for job in jobs if job.said],
    }


def _matrix(session: Session, night: Night) -> NightMatrix:
    rows: dict[tuple[str, str, str], dict[str, NightCell]] = {}
    columns: dict[str, None] = {}
    counted = _counted(session, [job.run_id for job in night.row.jobs if job.run_id])
    for job in night.row.jobs:
        column = _platform(job)
        columns.setdefault(column)
        what = (job.suite, job.profile, " ".join(json.loads(job.args)))
        cell = rows.setdefault(what, {}).setdefault(column, NightCell())
        cell.states[job.state] += 1
        if job.run_id:
            cell.runs.append(job.run_id)
            cell.statuses += counted.get(job.run_id, Counter())
    for kernel, comparison in night.found.items():
        worse = Counter((one.item.suite, one.item.profile) for one in bad(comparison))
        for (suite, profile, _), cells in rows.items():
            if kernel in cells:
                cells[kernel].worse = worse[suite, profile]
    return NightMatrix(list(columns), rows)


def _counted(session: Session, runs: list[str]) -> Mapping[str, Counter[str]]:
    """Cases by status for each run."""
    found: dict[str, Counter[str]] = {}
    rows = session.execute(
        select(CaseRow.run_id, CaseRow.status, func.count())
        .where(CaseRow.run_id.in_(runs))
        .group_by(CaseRow.run_id, CaseRow.status)
    )
    for run, status, count in rows:
        found.setdefault(run, Counter())[status] = count
    return found


def _platform(job: JobRow) -> str:
    """As comparisons call it."""
    return f"{job.kernel} in {job.qemu_name}" if job.qemu_name else job.kernel


def _changes(found: Comparison) -> list[tuple[str, list[ItemDifference]]]:
    """A kernel's differences by change; of the rules, those that changed."""
    every = [*found.cases, *(one for one in found.rules if one.change in (*BAD, ChangeKind.FIXED))]
    grouped = [(change, [one for one in every if one.change is change]) for change in _ORDER]
    return [(change.value, some) for change, some in grouped if some]
