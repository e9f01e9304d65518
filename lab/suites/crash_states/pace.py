# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast states are judged, and how long it will take, told now and then."""

import time
from collections.abc import Callable

_EVERY = 2.0
"""Seconds between two words of it."""

_LOOK = 512
"""States after which it is looked at the clock."""


class StatePace:
    """Is told how many states are past, and tells people."""

    def __init__(
        self, tell: Callable[[str], None], now: Callable[[], float] = time.monotonic,
        every: float = _EVERY, look: int = _LOOK,
    ) -> None:  # fmt: skip
        self._tell = tell
        self._now = now
        self._every = every
        self._look = look
        self._name = ""
        self._expected = 0
        self._began = self._told = now()
        self._looked = 0

    def begin(self, name: str, expected: int) -> None:
        """Something of so many states begins; 0 where it is not known how many."""
        self._name, self._expected = name, expected
        self._began = self._told = self._now()
        self._looked = 0

    def reach(self, number: int) -> None:
        """So many of its states are past."""
        if number - self._looked < self._look:
            return
        self._looked = number
        now = self._now()
        if now - self._told < self._every:
            return
        self._told = now
        rate = number / (now - self._began)
        if not self._expected:
            self._tell(f"{self._name}: {number} states, {rate:.1f} a second")
            return
        left = max(0, self._expected - number) / rate
        self._tell(
            f"{self._name}: {number} of {self._expected} states, {rate:.0f} a second, "
            f"{left:.0f} s left"
        )
