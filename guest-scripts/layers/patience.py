# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines that are longer where this guest is slower than it might be: its host has other things
to do, and whatever it waits for takes as much longer as its own loops do."""

import time

TURNS, SECONDS = 200_000, 0.1
"""Turns of an empty loop, and what they take in an emulated guest whose host does nothing else
(QEMU 7.2, TCG; a guest under KVM takes a tenth of it).  Long enough for others to have their turn
on the host's processors meanwhile."""
AT_MOST = 20.0
"""How many times longer: as the host has it (lab/host/patience.py)."""


def slower():
    """How many times slower than an emulated guest might be this one is; 1 for one that is not."""
    start = time.monotonic()
    for _ in range(TURNS):
        pass
    return min(max(1.0, (time.monotonic() - start) / SECONDS), AT_MOST)


def ended(running, seconds, text=None):
    """What a program (a subprocess.Popen, with `text` to read) has said to stdout and stderr, when
    it has ended.  Raises subprocess.TimeoutExpired, and has killed it then."""
    # Here, as in system.run().
    import subprocess

    patience = Patience(seconds)
    while True:
        try:
            return running.communicate(text, timeout=min(1, seconds))
        except subprocess.TimeoutExpired:
            text = None  # it was given that
            if patience.over():
                running.kill()
                raise


class Patience:
    """A deadline in seconds of an emulated guest whose host does nothing else.  The speed is
    measured when these have passed: until then it costs nothing."""

    def __init__(self, seconds):
        self._seconds = self._limit = seconds
        self._began = time.monotonic()

    def __str__(self):
        """How long it was by the clock, in words."""
        return f"{self._spent():.0f} s"

    def over(self):
        """Whether the deadline has passed."""
        if self._spent() <= self._limit:
            return False
        self._limit = self._seconds * slower()
        return self._spent() > self._limit

    def _spent(self):
        return time.monotonic() - self._began
