# SPDX-License-Identifier: GPL-2.0-or-later
"""The runs that there are, as their directories tell of them."""

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.foreign import decoded
from lab.host import dirs
from lab.host.dirs import not_writable
from lab.results.run import BROKEN_OFF, DOCUMENT, PROFILE, TIMELINE

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_BEGINNING = re.compile(r"\d{8}(?:-\d{0,6}(?:-[0-9a-f]{0,3})?)?")
LATEST = "latest"
_LAST_EVENTS = 4096
"""Bytes of the timeline among which the last event is."""


@dataclass(frozen=True)
class PastRun:
    """A run that has ended: its document, and its resolved profile as JSON."""

    document: dict[str, Any]
    profile: str


def ids() -> list[str]:
    """The runs there are, the latest first."""
    names = (path.name for path in dirs.state("runs").iterdir())
    return sorted((name for name in names if _ID.fullmatch(name)), reverse=True)


def spelled_out(text: str) -> str:
    """RUN or RUN:CASE with the whole id of the run in place of `latest`, or of what only one begins
    with; anything else, such as a bundle's name, as it is."""
    run, colon, case = text.partition(":")
    if not (run == LATEST or _BEGINNING.fullmatch(run)):
        return text
    there = ids()
    found = there[:1] if run == LATEST else [each for each in there if each.startswith(run)]
    return f"{found[0]}{colon}{case}" if len(found) == 1 else text


def ended(run: str) -> bool:
    """Whether a run has come to its end, and was not broken off half-way."""
    return (dirs.state("runs") / run / DOCUMENT).is_file() and not interrupted(run)


def interrupted(run: str) -> bool:
    """Whether a run says that it was broken off; one that was killed says nothing."""
    try:
        with (dirs.state("runs") / run / TIMELINE).open("rb") as timeline:
            if (start := timeline.seek(0, os.SEEK_END) - _LAST_EVENTS) > 0:
                timeline.seek(start)
                timeline.readline()  # the end of one
            else:
                timeline.seek(0)
            return any(_says_so(line) for line in timeline)
    except OSError:
        return False


def _says_so(line: bytes) -> bool:
    """Whether an event is that of a run which was broken off: a guest may use the same words."""
    try:
        event = json.loads(line)
    except ValueError:
        return False
    said = isinstance(event, dict) and (event.get("source"), event.get("event"))
    return said == ("lab", BROKEN_OFF)


def token(run: str) -> str:
    """The word that whoever started a run finds it by again; '' if it has none."""
    try:
        with (dirs.state("runs") / run / TIMELINE).open() as timeline:
            return str(json.loads(timeline.readline()).get("token") or "")
    except (OSError, ValueError):
        return ""


def fenced(token: str) -> bool:
    """Whether a run of that token counts only where the claim in it does (NIGHT/POSITION@CLAIM)."""
    return "@" in token


def void(run: str, why: str) -> None:
    """Have a run that ended count for nothing, as one that was broken off."""
    line = json.dumps(
        {"t": round(time.monotonic(), 6), "source": "lab", "event": BROKEN_OFF, "by": why}
    )
    try:
        with (dirs.state("runs") / run / TIMELINE).open("a") as timeline:
            timeline.write(line + "\n")
    except OSError as error:
        raise not_writable(dirs.state("runs") / run, error) from error


def planted(document: dict[str, Any]) -> str:
    """The defect that a run's document says was planted on purpose; '' if none."""
    # Suites with a document of their own say it there, others among what was asked for.
    options = document.get("options") or {}
    return str(document.get("plant") or options.get("plant") or "")


def document(run: str) -> dict[str, Any]:
    """The document of a run by its id; empty if it has none, or none that can be read."""
    try:
        found = decoded((dirs.state("runs") / run / DOCUMENT).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def directory(run: str) -> Path:
    """The directory of a run.  Raises UsageError when there is none."""
    # An id becomes a path: nothing else may.
    place = dirs.state("runs") / run
    if not _ID.fullmatch(run) or not place.is_dir():
        latest = ids()[:1]
        raise UsageError(
            f"no run {run}", hint=f"the latest is {latest[0]}" if latest else "there is none yet"
        )
    return place


def load(run: str) -> PastRun:
    """A run by its id.  Raises UsageError when there is none, or none that has ended."""
    place = directory(run)
    try:
        found = decoded((place / DOCUMENT).read_text())
        if not isinstance(found, dict):
            raise ValueError("it has no mapping")
        profile = (place / PROFILE).read_text()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"run {run} has no document that can be read: {error}",
            hint="was it broken off? its timeline.jsonl says how far it came",
        ) from error
    return PastRun(found, profile)
