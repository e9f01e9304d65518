# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as it goes on, by its timeline: whoever follows it reads files, and touches nothing."""

import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lab.host import dirs
from lab.results import runs
from lab.results.cases import CaseStatus, status_of, titled
from lab.results.run import BROKEN_OFF, TIMELINE

KEPT = 500
"""Events that are remembered."""
_PIECE = 1 << 20
"""Bytes that are read at a time."""
_QUOTED = 300


class RunState(StrEnum):
    """Where a run stands; one that was killed says nothing, and seems to go on."""

    RUNNING = "running"
    ENDED = "ended"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class LiveEvent:
    """A line of the timeline: `t` in seconds since the run began."""

    t: float
    source: str
    event: str
    text: str


@dataclass
class RunFollower:
    """A run, and what has happened in it so far; poll() reads what is new."""

    run: str
    suite: str = ""
    profile: str = ""
    state: RunState = RunState.RUNNING
    counts: Counter[str] = field(default_factory=Counter)
    """Cases by status."""
    at: str = ""
    """The case that runs."""
    last: float = 0.0
    """Seconds from its beginning to its last event."""
    since: float = 0.0
    """Seconds from its beginning to that of the case."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Cases that did not pass, with what they came to."""
    events: deque[LiveEvent] = field(default_factory=lambda: deque(maxlen=KEPT))
    _read: int = 0
    _rest: bytes = b""
    _began: float | None = None

    def poll(self) -> list[LiveEvent]:
        """Read on; the events that are new."""
        new = [self._take(raw) for raw in self._new()]
        self.events += new
        if self.state is RunState.RUNNING and runs.ended(self.run):
            self.state, self.at = RunState.ENDED, ""
        return new

    def _new(self) -> Iterator[dict[str, Any]]:
        try:
            with (dirs.state("runs") / self.run / TIMELINE).open("rb") as timeline:
                timeline.seek(self._read)
                while data := timeline.read(_PIECE):
                    self._read += len(data)
                    *lines, self._rest = (self._rest + data).split(b"\n")
                    yield from filter(None, map(_decoded, lines))
        except OSError:
            return

    def _take(self, raw: dict[str, Any]) -> LiveEvent:
        if self._began is None:
            self._began = float(raw["t"])
        at = float(raw["t"]) - self._began
        self.last = max(self.last, at)
        data = {key: value for key, value in raw.items() if key not in ("t", "source", "event")}
        match raw["source"], raw["event"]:
            case "lab", "run":
                self.suite, self.profile = str(raw.get("suite")), str(raw.get("profile"))
            case "lab", "case":
                self._begin(f"{raw['point']} {raw['action']}", at)
            case "suite", "began":
                self._begin(titled(str(raw.get("section") or ""), str(raw["case"])), at)
            case "oracle", "verdict":
                self._count(f"{raw['point']} {raw['action']}", raw, str(raw["verdict"]))
            case "suite", "case":
                title = titled(str(raw.get("section") or ""), str(raw["name"]))
                self._count(title, raw, str(raw.get("reason") or raw["status"]))
            case "lab", str(event) if event == BROKEN_OFF:
                self.state, self.at = RunState.INTERRUPTED, ""
            case _:
                pass
        return LiveEvent(at, str(raw["source"]), str(raw["event"]), _words(data))

    def _begin(self, case: str, at: float) -> None:
        self.at, self.since = case, at

    def _count(self, case: str, raw: dict[str, Any], words: str) -> None:
        try:
            status = status_of(raw)
        except (KeyError, ValueError):
            return
        self.counts[status.value] += 1
        if status is not CaseStatus.PASS:
            self.failed.append((case, words))
        if case == self.at:
            self.at = ""


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"t", "source", "event"} <= found.keys() else None


def _words(data: dict[str, Any]) -> str:
    if set(data) <= {"text", "level"} and "text" in data:
        return str(data["text"])[:_QUOTED]
    return " ".join(f"{key}={value}" for key, value in data.items() if value is not None)[:_QUOTED]
