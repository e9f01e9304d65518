# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers as processes: started, killed, and gone at the end."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import HostError
from lab.results.store.database import session
from lab.results.store.schema import NightRow
from tests import ROOT

LEASE = 2.0
"""Seconds."""


class Hand:
    """A worker, with a state directory of its own as on a host of its own."""

    def __init__(self, place: Path, store: str, name: str) -> None:
        self.name = name
        self.state = place / f"state-{name}"
        self.log = place / f"{name}.log"
        self.store = store
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *version: str, seconds: float = 0.3) -> None:
        """Start it, or start it again."""
        self.state.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.unit.hosts.worker_process", self.name, "2",
                 str(LEASE), *version],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "LAB_STORE": self.store, "XDG_STATE_HOME": str(self.state),
                     "SHORT_RUN": str(seconds)},
            )  # fmt: skip

    def disk_full(self, full: bool) -> None:
        """Have its file system look full, or not; see worker_process.py."""
        mark = self.state / "full"
        mark.touch() if full else mark.unlink(missing_ok=True)

    def send(self, number: int) -> None:
        """A signal for the worker alone."""
        assert self.process is not None
        self.process.send_signal(number)

    def end(self) -> int:
        """End it as a user does; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(60)

    @property
    def said(self) -> str:
        """All that it has printed."""
        return self.log.read_text() if self.log.exists() else ""


@contextmanager
def crew(place: Path, store: str, *names: str, seconds: float = 0.3) -> Iterator[list[Hand]]:
    """Workers of these names; whatever happens, none is left."""
    hands = [Hand(place, store, name) for name in names]
    try:
        for hand in hands:
            hand.start(seconds=seconds)
        yield hands
    finally:
        for hand in hands:
            if hand.process is not None and hand.process.poll() is None:
                hand.end()


def until_over(night: str, hands: list[Hand], deadline: float = 120.0) -> None:
    """Wait for a night's end."""
    end = time.monotonic() + deadline
    while True:
        with contextlib.suppress(HostError), session() as store:
            if store.get_one(NightRow, night).ended is not None:
                return
        working = any(hand.process and hand.process.poll() is None for hand in hands)
        told = "\n".join(f"{hand.name}: {hand.said}" for hand in hands)
        assert working and time.monotonic() < end, told
        time.sleep(0.2)
