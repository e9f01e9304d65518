# SPDX-License-Identifier: GPL-2.0-or-later
"""The runs on the index: those of the store, and this host's that have not come to their end."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from lab.results import runs
from lab.results.remarks import INTERRUPTED, UNFINISHED, remarks
from lab.results.site.timeline import beginning
from lab.results.store.schema import RunRow


@dataclass(frozen=True)
class RunListing:
    """A run in a line; `seconds` is None where it has no end."""

    id: str
    suite: str
    profile: str
    release: str
    seconds: float | None
    remarks: list[str]


def latest(session: Session, limit: int) -> list[RunListing]:
    """The latest runs, the last one first."""
    stored = session.scalars(select(RunRow).order_by(RunRow.id.desc()).limit(limit)).all()
    found = [
        RunListing(
            run.id, run.suite, run.profile, run.release, run.seconds, remarks(run.plant, run.error)
        )
        for run in stored
    ]
    # The store takes in none that is without an end.
    found += islice(_without_end(), limit)
    return sorted(found, key=lambda run: run.id, reverse=True)[:limit]


def _without_end() -> Iterator[RunListing]:
    for run in runs.ids():
        if runs.ended(run):
            continue
        document, began = runs.document(run), beginning(run)
        end = INTERRUPTED if runs.interrupted(run) else UNFINISHED
        yield RunListing(
            run,
            str(began.get("suite", "")),
            str(began.get("profile", "")),
            str(document.get("kernel") or ""),
            None,
            [*remarks(runs.planted(document), ""), end],
        )
