# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines for what another process does, longer where that has to wait for a processor."""

import time
from typing import Protocol

_AT_MOST = 20.0
"""How many times longer: on a host on which a guest gets a twentieth of a processor, nobody wants
to know what comes of it."""


class Waiting(Protocol):
    """What may have to wait for a processor: a Process, or several."""

    def kept_waiting(self) -> float:
        """Seconds in which it had none, since its start."""


class Patience:
    """A deadline in seconds, of which those do not count in which a process had no processor; for
    none (None) all count."""

    def __init__(self, process: Waiting | None, seconds: float) -> None:
        self._process = process
        self._seconds = seconds
        self._began = time.monotonic()
        self._waited = self._kept_waiting()

    def __str__(self) -> str:
        """The deadline, and how long it was by the clock, in words."""
        spent = time.monotonic() - self._began
        told = f"{self._seconds:.0f} s"
        return told if spent < self._seconds + 1 else f"{told}, {spent:.0f} s on this busy host"

    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self.left() <= 0

    def left(self) -> float:
        """Seconds that are left, if the process has a processor from now on."""
        spent = time.monotonic() - self._began
        if spent <= self._seconds:
            return self._seconds - spent
        return min(self._seconds + self.excused(), _AT_MOST * self._seconds) - spent

    def excused(self) -> float:
        """Seconds until now that do not count."""
        return max(0.0, self._kept_waiting() - self._waited)

    def _kept_waiting(self) -> float:
        return self._process.kept_waiting() if self._process else 0.0
