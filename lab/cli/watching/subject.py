# SPDX-License-Identifier: GPL-2.0-or-later
"""What is watched: a run by itself, or the runs of a night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import select

from lab.errors import UsageError
from lab.results import runs
from lab.results.store.database import session
from lab.results.store.schema import NightRow
from lab.suites.request import under_test


@dataclass(frozen=True)
class WatchedRun:
    """A run in the list: its id once it has begun, what it is of, and where the night has it."""

    key: str
    run: str
    what: str
    state: str


class Watched(Protocol):
    """What is watched."""

    @property
    def title(self) -> str:
        """What the window says."""

    def rows(self) -> Sequence[WatchedRun]:
        """The runs as they stand now."""


@dataclass(frozen=True)
class RunSubject:
    """One run."""

    run: str

    @property
    def title(self) -> str:
        """Its id."""
        return self.run

    def rows(self) -> Sequence[WatchedRun]:
        """Itself."""
        return [WatchedRun(self.run, self.run, "", "")]


@dataclass(frozen=True)
class NightSubject:
    """A night, by its id."""

    night: str

    @property
    def title(self) -> str:
        """Its id."""
        return self.night

    def rows(self) -> Sequence[WatchedRun]:
        """A row for each run that its plan asks for; one that goes on is found by the word that it
        was given."""
        with session() as store:
            night = store.get(NightRow, self.night)
            jobs = list(night.jobs) if night else []
            found = [
                (job.position, job.run_id or "", job.state, job.suite, job.profile,
                 under_test(job.kernel, job.qemu_name), job.repetition)
                for job in jobs
            ]  # fmt: skip
        begun = _begun(self.night) if any(not run for _, run, *_ in found) else {}
        rows = []
        for position, run, state, suite, profile, kernel, repetition in found:
            here = run or begun.get(position, "")
            again = f" ({repetition})" if repetition > 1 else ""
            going = "running" if here and not run else state
            what = f"{suite} on {profile}, {kernel}{again}"
            rows.append(WatchedRun(str(position), here, what, going))
        return rows


def _begun(night: str) -> dict[int, str]:
    """The runs of a night that are on this host and have no end yet, by their places in it."""
    found: dict[int, str] = {}
    # They began after the night did, which is in its id as in theirs.
    for run in runs.ids():
        if run[:15] < night[:15]:
            break
        of, _, place = runs.token(run).partition("/")
        position = place.partition("@")[0]
        if of == night and position.isdecimal():
            found.setdefault(int(position), run)
    return found


def subject(what: str | None) -> Watched:
    """The night or the run that begins so; without a word the last night, if it goes on, or else
    the last run.  Raises UsageError where there is none."""
    there = runs.ids()
    with session() as store:
        newest = select(NightRow).order_by(NightRow.started.desc())
        if what is None:
            night = store.scalars(newest.limit(1)).first()
            if night and night.ended is None:
                return NightSubject(night.id)
        else:
            found = newest.where(NightRow.id.startswith(what, autoescape=True)).limit(1)
            if night := store.scalars(found).first():
                return NightSubject(night.id)
    named = [run for run in there if run.startswith(what or "")]
    if not named:
        latest = f"the latest is {there[0]}" if there else "there is none yet"
        raise UsageError(f"no run or night {what or ''}".rstrip(), hint=latest)
    return RunSubject(named[0])
