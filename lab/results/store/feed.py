# SPDX-License-Identifier: GPL-2.0-or-later
"""From the JSON of runs to rows of the store."""

import json
import math
import socket
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from lab.errors import HostError, UsageError
from lab.foreign import decoded, tamed
from lab.host import dirs, lock
from lab.results import runs
from lab.results.cases import CaseStatus, status_of
from lab.results.runs import PastRun
from lab.results.store.schema import CaseRow, RunRow

FEED_DEADLINE = 120.0
"""Seconds to wait for another lab that takes in runs."""


class RefusedRun(HostError):
    """A run that the store does not take."""


class UnreadableRun(RefusedRun):
    """A run whose document says something else: an older or a later lab wrote it."""


class RunLeftOut(UserWarning):
    """A run stays out of the store, which refuses what it says."""


def feed(session: Session) -> list[str]:
    """Take in every run of this host that has ended and is not in the store yet; their ids.

    Runs that were broken off stay out, those whose document says something else, and those of
    workers, which enter them themselves: one that was late has no say.  So does one that the
    database refuses, of which a warning tells each time, RunLeftOut.  Commits.
    """
    # Two labs must not take in the same run at once.
    with lock.held(dirs.state() / "feed.lock", deadline=FEED_DEADLINE):
        known = set(session.scalars(select(RunRow.id)))
        taken = [
            run
            for run in reversed(runs.ids())
            if run not in known and runs.ended(run) and not runs.fenced(runs.token(run))
            and _taken(session, run)
        ]  # fmt: skip
        session.commit()
    return taken


def _taken(session: Session, run: str) -> bool:
    """Whether a run could be taken in: one that cannot be keeps no other out."""
    try:
        take(session, run)
    except UnreadableRun:
        return False
    except RefusedRun as error:
        warnings.warn(str(error), RunLeftOut, stacklevel=3)
        return False
    return True


def take(session: Session, run: str, host: str = "") -> None:
    """Take in a run of this host that has ended.

    `host` is what this host is called in the store, by default its own name.  Raises RefusedRun
    where the store does not take it, which leaves the session as it was, and IntegrityError of
    SQLAlchemy where the store has another run of that id.
    """
    try:
        past = runs.load(run)
        # What an earlier lab recorded may hold what no terminal and no database should get.
        row, cases = tamed(_run_row(run, past)), tamed(list(case_rows(past.document)))
    except (UsageError, AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise UnreadableRun(
            f"run {run} says not what this lab takes into the store: {error}",
            hint="did another version of the lab record it?",
        ) from error
    if host:
        row["host"] = host
    try:
        # The others of the same transaction are not to go with it.
        with session.begin_nested():
            session.execute(insert(RunRow), [row])
            if cases:
                session.execute(insert(CaseRow), [{**case, "run_id": run} for case in cases])
    except (DataError, OverflowError) as error:
        said = str(error.orig) if isinstance(error, DataError) else str(error)
        raise RefusedRun(
            f"the store does not take run {run}: {said.partition(chr(10))[0]}",
            hint=f"{dirs.state('runs') / run} has its evidence; without it nobody asks again",
        ) from error


def _run_row(run: str, past: PastRun) -> dict[str, Any]:
    document, profile = past.document, decoded(past.profile)
    return {
        "id": run,
        "host": socket.gethostname(),
        "started": started(run),
        "seconds": _seconds(document.get("seconds") or 0.0),
        "suite": str(document["suite"]),
        "profile": str(document["profile"]),
        "kernel": str(profile.get("kernel", "")),
        "release": str(document.get("kernel") or ""),
        "qemu": str(document.get("qemu") or ""),
        "qemu_name": str(profile.get("machine", {}).get("qemu", "host")),
        "accelerator": str(document.get("accelerator") or ""),
        "options": json.dumps(document.get("options"), sort_keys=True),
        "error": str(document.get("error") or ""),
        "plant": runs.planted(document),
        "boot": None if document.get("boot") is None else _seconds(document["boot"]),
    }


def _seconds(said: Any) -> float:
    """A time in a document.  Raises TypeError and ValueError, also for NaN, which is no time and
    which SQLite takes for nothing."""
    found = float(said)
    if math.isnan(found):
        raise ValueError("a time is no number")
    return found


def started(run: str) -> datetime:
    """When a run began; it is in its id."""
    return datetime.strptime(run[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)


def case_rows(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The cases in a run's JSON as rows, whichever suite wrote it."""
    titles = [_title(case) for case in document.get("cases", ())]
    often = Counter(titles)
    for title, case in zip(titles, document.get("cases", ()), strict=True):
        # Cases drawn at random can have a name in common; repetitions say which they are.
        unique = often[title] == 1 or "attempt" in case
        rules = {
            rule: "" if found["verdict"] == "holds" else str(found["evidence"]) or "violated"
            for rule, found in case.get("rules", {}).items()
            if found["verdict"] in ("holds", "violated")
        }
        yield {
            "name": title if unique else f"{title} #{case['number']}",
            "attempt": int(case.get("attempt", 1)),
            "status": status_of(case).value,
            "seconds": _seconds(case.get("seconds") or 0.0),
            "reason": str(case.get("reason") or _first_broken(rules) or _first_fallback(case)),
            "known": str(case.get("known") or ""),
            "rules": rules,
        }


def _title(case: dict[str, Any]) -> str:
    """A case's name, with the configuration or the path of the copy that it belongs to."""
    of = case.get("section") or case.get("path")
    return f"{of}:{case['name']}" if of else str(case["name"])


def _first_broken(rules: dict[str, str]) -> str:
    """The first violated rule with what shows it."""
    return next((f"{rule}: {evidence}" for rule, evidence in rules.items() if evidence), "")


def _first_fallback(case: dict[str, Any]) -> str:
    """How the caller of a copy was served, where no offload did that; '' of any other case."""
    for rule, found in case.get("rules", {}).items():
        if found["verdict"] == CaseStatus.FELL_BACK.value:
            return f"{rule}: {found['evidence']}"
    return ""
