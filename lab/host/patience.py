# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines for what another process does, longer where that has to wait for a processor."""

import time

from lab.host.process import Process

_AT_MOST = 20.0
"""How many times longer: on a host on which a guest gets a twentieth of a processor, nobody wants
to know what comes of it."""


class Patience:
    """A deadline in seconds, of which those do not count in which a process had no processor."""

    def __init__(self, process: Process, seconds: float) -> None:
        self._process = process
        self._seconds = seconds
        self._began = time.monotonic()
        self._waited = process.kept_waiting()

    def __str__(self) -> str:
        """The deadline, and how long it was by the clock, in words."""
        spent = time.monotonic() - self._began
        told = f"{self._seconds:.0f} s"
        return told if spent < self._seconds + 1 else f"{told}, {spent:.0f} s on this busy host"

    def over(self) -> bool:
        """Whether the deadline has passed."""
        spent = time.monotonic() - self._began
        if spent <= self._seconds:
            return False
        waited = self._process.kept_waiting() - self._waited
        return spent - max(0.0, waited) > self._seconds or spent > _AT_MOST * self._seconds
