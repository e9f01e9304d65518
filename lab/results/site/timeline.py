# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened in each case of a run: guest, QMP, trace and faults on one clock."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab.host import dirs
from lab.results.run import TIMELINE

LONGEST = 400
"""Events that are shown of a case."""


@dataclass(frozen=True)
class Event:
    """One line of a case's timeline; `at` is in seconds since its setup."""

    at: float
    source: str
    event: str
    data: str


def by_case(run: str) -> dict[int, list[Event]]:
    """The events of each case by its number, of a run whose timeline is on this host."""
    found: dict[int, list[Event]] = {}
    number: int | None = None
    start = 0.0
    for raw in _events(run):
        if (raw["source"], raw["event"]) == ("lab", "setup"):
            number, start = int(raw["number"]), float(raw["t"])
            # A case that was minimised is set up again and again; the first is the case itself.
            number = None if number in found else number
        if number is not None and len(found.setdefault(number, [])) < LONGEST:
            found[number].append(_event(raw, start))
    return found


def beginning(run: str) -> dict[str, Any]:
    """The first event of a run, which has its suite and profile; empty if it has none here."""
    return next(_events(run), {})


def _event(raw: dict[str, Any], start: float) -> Event:
    data = {key: value for key, value in raw.items() if key not in ("t", "source", "event")}
    text = str(data["text"]) if set(data) <= {"text", "level"} and data else json.dumps(data)
    return Event(raw["t"] - start, raw["source"], raw["event"], text if data else "")


def _events(run: str) -> Iterator[dict[str, Any]]:
    try:
        with (dirs.state("runs") / run / TIMELINE).open() as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    return  # the last line of a lab that was killed
    except OSError:
        return
