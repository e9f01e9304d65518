# SPDX-License-Identifier: GPL-2.0-or-later
"""What the page of a run without an end shows: how far it came, and what it was at."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab.host import dirs
from lab.results import runs
from lab.results.cases import status_of
from lab.results.run import TIMELINE
from lab.results.site.listing import RunListing
from lab.results.site.timeline import Event, beginning, event_of

LAST = 60
"""Events that are shown."""
_READ = 256 << 10
"""Bytes of the timeline's end in which they are looked for."""


@dataclass(frozen=True)
class UnendedRun:
    """A run that was interrupted, or has not ended yet: cases by status, the case it was at, if
    that is known, and its last events, with the seconds since its beginning."""

    run: RunListing
    counts: dict[str, int]
    at: str
    events: tuple[Event, ...]

    @property
    def page(self) -> str:
        """The name of its page."""
        return page_of(self.run.id)


def page_of(run: str) -> str:
    """The name of the page of a run that has no end; one that has, has another."""
    return f"{run}.unended.html"


def unended(run: RunListing) -> UnendedRun:
    """What is known of it on this host."""
    raw = list(_last(run.id))
    start = _start(run.id)
    return UnendedRun(
        run, _counts(run.id), _at(raw), tuple(event_of(one, start) for one in raw[-LAST:])
    )


def _counts(run: str) -> dict[str, int]:
    found: Counter[str] = Counter()
    for case in runs.document(run).get("cases", ()):
        try:
            found[status_of(case).value] += 1
        except (KeyError, ValueError):
            continue
    return dict(found)


def _at(events: list[dict[str, Any]]) -> str:
    """The case that the last events are of, as its suite calls it; '' where none says."""
    for each in reversed(events):
        match each.get("source"), each.get("event"):
            case "lab", "case":
                return f"{each.get('point')} {each.get('action')}"
            case "suite", "began":
                return ":".join(filter(None, (each.get("section"), each.get("case"))))
            case _:
                continue
    return ""


def _last(run: str) -> Iterator[dict[str, Any]]:
    """The last events of its timeline."""
    try:
        with (dirs.state("runs") / run / TIMELINE).open("rb") as timeline:
            size = timeline.seek(0, os.SEEK_END)
            timeline.seek(max(0, size - _READ))
            lines = timeline.read().splitlines()
    except OSError:
        return
    # The first may be the end of one, and the last what a killed lab left.
    for line in lines[1:] if size > _READ else lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and {"t", "source", "event"} <= found.keys():
            yield found


def _start(run: str) -> float:
    return float(beginning(run).get("t") or 0.0)
