# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing the site: the index, a page for a night, a page for each of its runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import select
from sqlalchemy.orm import Session

from lab.host.dirs import not_writable
from lab.results import runs
from lab.results.baseline import Comparison
from lab.results.compare import BAD, ChangeKind, Item, ItemDifference
from lab.results.remarks import remarks
from lab.results.site import svg
from lab.results.site.conformance import table
from lab.results.site.listing import latest
from lab.results.site.matrix import matrices
from lab.results.site.timeline import by_case
from lab.results.store.query import cases_of
from lab.results.store.schema import CaseRow, NightRow, RunRow

RECENT = 50
"""Nights and runs on the index."""

PLOTTED = 30
"""Runs in a plot, outcomes in a case's history."""

CONFORMANCE = "conformance"
"""The suite whose runs are compared with a reference."""

_FAILED = ("fail", "hung", "crashed")
_ORDER = (
    ChangeKind.REGRESSED, ChangeKind.NEW_FAILING, ChangeKind.FIXED, ChangeKind.FLAKY,
    ChangeKind.STILL_FAILING, ChangeKind.NOT_RUN,
)  # fmt: skip


@dataclass(frozen=True)
class Night:
    """A night with its comparisons by kernel, and those of the night before it."""

    row: NightRow
    found: Mapping[str, Comparison]
    before: Mapping[str, Comparison]

    def news(self) -> list[tuple[str, ItemDifference]]:
        """What is worse than the baseline and was not so the night before, by kernel."""
        return [
            (kernel, one)
            for kernel, comparison in self.found.items()
            for one in _bad(comparison)
            if one.item not in {old.item for old in _bad(self.before.get(kernel))}
        ]


def write(session: Session, directory: Path, night: Night | None, runs: Sequence[RunRow]) -> Path:
    """Write the index, the night's page and those of `runs`; return the index.

    Pages that are there already and have not changed what they tell are written all the same;
    those of other nights and runs are left.  Raises HostError when the directory cannot be written.
    """
    pages = _environment()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for run in runs:
            _page(pages, directory, "run", f"{run.id}.html", _run(session, run))
        if night:
            _page(pages, directory, "night", f"{night.row.id}.html", _night(session, night))
        return _page(pages, directory, "index", "index.html", _index(session, directory))
    except OSError as error:
        raise not_writable(directory, error) from error


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("lab.results.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"line": svg.line, "strip": svg.strip, "remarks": remarks}
    return made


def _page(
    pages: Environment, directory: Path, template: str, name: str, told: dict[str, Any]
) -> Path:
    path = directory / name
    new = path.with_suffix(".new")
    new.write_text(pages.get_template(f"{template}.html").render(told))
    new.replace(path)
    return path


def _index(session: Session, directory: Path) -> dict[str, Any]:
    there = {path.name for path in directory.glob("*.html")}
    nights = session.scalars(select(NightRow).order_by(NightRow.started.desc()).limit(RECENT))
    return {"nights": list(nights), "runs": latest(session, RECENT), "there": there}


def _night(session: Session, night: Night) -> dict[str, Any]:
    runs = {job.run_id: session.get(RunRow, job.run_id) for job in night.row.jobs if job.run_id}
    kernels = {kernel: _changes(found) for kernel, found in night.found.items()}
    what = dict.fromkeys((job.suite, job.profile) for job in night.row.jobs)
    guests = dict.fromkeys((job.profile, job.kernel) for job in night.row.jobs)
    return {
        "night": night.row,
        "plan": json.loads(night.row.document),
        "news": night.news(),
        "compared": bool(night.found),
        "warnings": dict.fromkeys(
            warning for found in night.found.values() for warning in found.warnings
        ),
        "kernels": kernels,
        "found": night.found,
        "runs": runs,
        "durations": [(*each, _durations(session, *each)) for each in what],
        "boots": [(*each, _boots(session, *each)) for each in guests],
        "failed": [job for job in night.row.jobs if job.said],
    }


def _changes(found: Comparison) -> list[tuple[str, list[ItemDifference]]]:
    """A kernel's differences by change; of the rules, those that changed."""
    every = [*found.cases, *(one for one in found.rules if one.change in (*BAD, ChangeKind.FIXED))]
    grouped = [(change, [one for one in every if one.change is change]) for change in _ORDER]
    return [(change.value, some) for change, some in grouped if some]


def _run(session: Session, run: RunRow) -> dict[str, Any]:
    cases = cases_of(session, [run.id])
    events = by_case(run.id)
    document = runs.document(run.id)
    # A run of another host has no document here.
    told = document.get("cases") or [{}] * len(cases)
    return {
        "run": run,
        "matrices": matrices(cases),
        "cases": cases,
        "conformance": table(cases) if run.suite == CONFORMANCE else None,
        "differences": document.get("differences", []),
        "failing": [
            (
                case,
                _again(run, recorded),
                _history(session, run, case.name),
                events.get(recorded.get("number", place), []),
            )
            for place, (case, recorded) in enumerate(zip(cases, told, strict=False), 1)
            if case.status in _FAILED
        ],
        "durations": _durations(session, run.suite, run.profile),
        "boots": _boots(session, run.profile, run.kernel),
        "counts": _counts(cases),
    }


def _again(run: RunRow, case: Mapping[str, Any]) -> str:
    """The case that does it again, as `lab replay` takes it; '' if none does."""
    # A run that is made of others says which one had the case.
    return f"{case.get('run', run.id)}:{case['number']}" if "number" in case else ""


def _history(session: Session, run: RunRow, name: str) -> list[str]:
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


def _durations(session: Session, suite: str, profile: str) -> list[float]:
    """Seconds of the last runs of a suite on a profile, oldest first."""
    taken = session.scalars(
        select(RunRow.seconds)
        .where(RunRow.suite == suite, RunRow.profile == profile, RunRow.error == "")
        .order_by(RunRow.id.desc())
        .limit(PLOTTED)
    )
    return list(taken)[::-1]


def _boots(session: Session, profile: str, kernel: str) -> list[float]:
    """Seconds that the last guests of a profile took to boot a kernel, oldest first."""
    taken = session.scalars(
        select(RunRow.boot)
        .where(RunRow.profile == profile, RunRow.kernel == kernel, RunRow.boot.is_not(None))
        .order_by(RunRow.id.desc())
        .limit(PLOTTED)
    )
    return [seconds for seconds in taken if seconds is not None][::-1]


def _counts(cases: Iterable[CaseRow]) -> dict[str, int]:
    found: dict[str, int] = {}
    for case in cases:
        found[case.status] = found.get(case.status, 0) + 1
    return found


def _bad(comparison: Comparison | None) -> list[ItemDifference]:
    """Cases that are worse than the baseline, and rules of cases that are not told as such."""
    if comparison is None:
        return []
    cases = [one for one in comparison.cases if one.change in BAD]
    told = {_whole(one.item) for one in cases}
    rules = [one for one in comparison.rules if one.change in BAD]
    return cases + [one for one in rules if _whole(one.item) not in told]


def _whole(item: Item) -> Item:
    return Item(item.suite, item.profile, item.case)
