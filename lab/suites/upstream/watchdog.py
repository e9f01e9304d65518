# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a case may take, in a guest that may be twenty times slower than hardware."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.guest.speed import Speed

DEADLINE = 300.0
"""Seconds that a case may take on hardware, if nothing else is known of it."""

_SPREAD, _LEAST = 10.0, 30.0
"""How many times longer than in an earlier run a case may take, and the least that it is given, in
seconds on hardware."""

_BETWEEN = 60.0


@dataclass
class Watchdog:
    """Deadlines of cases.

    `asked` is what the person said, in seconds on hardware; `seen` are the seconds that cases took
    in earlier runs here, by title.
    """

    asked: float | None = None
    seen: Mapping[str, float] = field(default_factory=dict)
    speed: Speed = field(default_factory=Speed)

    def deadline(self, title: str) -> float:
        """Seconds that a case may take in this guest."""
        if self.asked is None and title in self.seen:
            return max(_LEAST * self.speed.slower, _SPREAD * self.seen[title])
        return (self.asked or DEADLINE) * self.speed.slower

    @property
    def between(self) -> float:
        """Seconds for a suite to come to its first case, or from one to the next."""
        return _BETWEEN * self.speed.slower + 60.0
