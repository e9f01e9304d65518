# SPDX-License-Identifier: GPL-2.0-or-later
"""From the JSON of runs to rows of the store."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from lab.errors import UsageError
from lab.foreign import decoded, tamed
from lab.host import dirs, lock
from lab.results import runs
from lab.results.cases import CaseStatus, status_of
from lab.results.runs import PastRun
from lab.results.store.schema import CaseRow, RunRow

FEED_DEADLINE = 120.0
"""Seconds to wait for another lab that takes in runs."""


def feed(session: Session) -> list[str]:
    """Take in every run of this host that has ended and is not in the store yet; their ids.

    Runs that were broken off stay out, those whose document says something else, and those of
    workers, which enter them themselves: one that was late has no say.  Commits.
    """
    # Two labs must not take in the same run at once.
    with lock.held(dirs.state() / "feed.lock", deadline=FEED_DEADLINE):
        known = set(session.scalars(select(RunRow.id)))
        taken = [
            run
            for run in reversed(runs.ids())
            if run not in known and runs.ended(run) and not runs.fenced(runs.token(run))
            and take(session, run)
        ]  # fmt: skip
        session.commit()
    return taken


def take(session: Session, run: str, host: str = "") -> bool:
    """Take in a run of this host that has ended; whether its document could be read.

    `host` is what this host is called in the store, by default its own name.
    """
    try:
        past = runs.load(run)
        # What an earlier lab recorded may hold what no terminal and no database should get.
        row, cases = tamed(_run_row(run, past)), tamed(list(case_rows(past.document)))
    except (UsageError, AttributeError, LookupError, OverflowError, TypeError, ValueError):
        return False  # of an older or a later lab: no reason to keep the others out
    if host:
        row["host"] = host
    session.execute(insert(RunRow), [row])
    if cases:
        session.execute(insert(CaseRow), [{**case, "run_id": run} for case in cases])
    return True


def _run_row(run: str, past: PastRun) -> dict[str, Any]:
    document, profile = past.document, decoded(past.profile)
    return {
        "id": run,
        "host": socket.gethostname(),
        "started": started(run),
        "seconds": float(document.get("seconds") or 0.0),
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
        "boot": document.get("boot"),
    }


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
            "seconds": float(case.get("seconds") or 0.0),
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
