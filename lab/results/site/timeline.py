# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened in each case of a run: guest, QMP, trace and faults on one clock."""

import json
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from lab.host import dirs
from lab.results.run import TIMELINE

LONGEST = 400
"""Events that are shown of a case, and messages of the kernel as many."""


@dataclass(frozen=True)
class Event:
    """One line of a case's timeline; `at` is in seconds since its setup."""

    at: float
    source: str
    event: str
    data: str

    @property
    def clock(self) -> str:
        """The time as a page has it."""
        return f"{self.at:.4f}"


def by_case(run: str, wanted: Container[int] | None = None) -> dict[int, list[Event]]:
    """The events of each case by its number, or of those that are wanted, of a run whose timeline
    is on this host."""
    found: dict[int, list[Event]] = {}
    shown: Counter[tuple[int, bool]] = Counter()
    # The case, when it was set up, and the same of the one before.
    case = before = (-1, 0.0)
    seen: set[int] = set()

    listening = False

    def asked(number: int) -> bool:
        return number >= 0 and (wanted is None or number in wanted)

    for line in _lines(run):
        # Decoding takes most of the time: of a case that nobody asks for it is spared.
        if not (listening or _SETUP in line):
            continue
        if (raw := _decoded(line)) is None:
            break
        if (raw["source"], raw["event"]) == ("lab", "setup"):
            number = int(raw["number"])
            # A case that was minimised is set up again and again; the first is the case itself.
            before, case = case, (-1 if number in seen else number, float(raw["t"]))
            seen.add(number)
            listening = asked(case[0]) or asked(before[0])
        # The trace is read late: its last lines come when the next case has begun.
        number, start = before if raw["t"] < case[1] else case
        kind = (number, raw["source"] == "kernel")
        if asked(number) and shown[kind] < LONGEST:
            shown[kind] += 1
            found.setdefault(number, []).append(event_of(raw, start))
    return found


_SETUP = '"setup"'


def beginning(run: str) -> dict[str, Any]:
    """The first event of a run, which has its suite and profile; empty if it has none here."""
    first = next(_lines(run), "")
    return _decoded(first) or {}


def event_of(raw: dict[str, Any], start: float) -> Event:
    """A line of a timeline, with the seconds since `start`, as a page has it."""
    data = {key: value for key, value in raw.items() if key not in ("t", "source", "event")}
    text = str(data["text"]) if set(data) <= {"text", "level"} and data else json.dumps(data)
    return Event(raw["t"] - start, raw["source"], raw["event"], text[:_QUOTED] if data else "")


_QUOTED = 400
"""Characters of what an event says."""


def _lines(run: str) -> Iterator[str]:
    try:
        with (dirs.state("runs") / run / TIMELINE).open() as lines:
            yield from lines
    except OSError:
        return


def _decoded(line: str) -> dict[str, Any] | None:
    """An event; None for the last line of a lab that was killed."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found
