# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory of a guest whose kernel panics.

Such a guest resets itself at once, which ends its QEMU (-no-reboot).  Under watch QEMU stops it
there instead (`set-action`, QEMU 6.0), its memory is read, and then QEMU is told to quit: whoever
waits for that waits some seconds longer.  A guest that powers off or reboots ends as ever.
"""

import threading
import time
from contextlib import suppress
from pathlib import Path

from lab.errors import LabError
from lab.guest.guest import Guest
from lab.guest.lastwords import console, panic
from lab.host.settings import DumpSettings
from lab.inside import dump
from lab.results import dumps
from lab.results.run import Run

_DEADLINE = 600.0
"""Seconds for the memory of the largest guest on the busiest host; a gigabyte takes three."""
_QUIT_DEADLINE = 30.0


class PanicWatch:
    """Over one boot of a run's guest."""

    def __init__(self, run: Run, guest: Guest, allowed: DumpSettings) -> None:
        self._run = run
        self._guest = guest
        self._machine = guest.machine
        self._allowed = allowed
        self._plain = run.directory / dumps.DIRECTORY / f"{guest.record.name}.elf"
        self._meant = False
        self._ending: threading.Thread | None = None
        self._problem = ""
        self.spent = 0.0
        """Seconds that reading the memory took."""

    def begin(self) -> bool:
        """Have QEMU stop its guest instead of ending, and tell stopped() of that; whether it does,
        and a dump is wanted at all."""
        if not self._allowed.take or not self._allowed.run:
            return False
        try:
            self._machine.execute("set-action", {"shutdown": "pause"})
        except LabError as error:
            self._run.emit("lab", "no watch", why=str(error))
            return False
        return True

    def unwatch(self) -> None:
        """The guest outlives its run: it ends by itself from now on."""
        with suppress(LabError):
            self._machine.execute("set-action", {"shutdown": "poweroff"})

    def mean(self) -> None:
        """The guest is about to be ended on purpose: its memory tells nothing."""
        self._meant = True

    def stopped(self) -> None:
        """QEMU has stopped the guest, and is to end.  Called where its events are heard, which
        must not wait for it."""
        # A request that is held hangs QEMU in a drain, which nothing but a kill ends.
        if self._ending is None and not self._machine.holding:
            self._ending = threading.Thread(target=self._end, name="panic", daemon=True)
            self._ending.start()

    def wait(self) -> None:
        """Wait until a QEMU that has stopped its guest is told to quit."""
        if self._ending:
            self._ending.join(_DEADLINE)

    def taken(self) -> Path | None:
        """The memory of the guest as its panic left it, sparse and not packed, which the caller
        owns; None where it did not panic, or there is none.  Raises LabError with what went
        wrong."""
        self.wait()
        if self._problem:
            raise LabError(self._problem)
        return self._plain if self._plain.is_file() else None

    def forget(self) -> None:
        """Nobody wants the memory."""
        self.wait()
        self._plain.unlink(missing_ok=True)

    def _end(self) -> None:
        try:
            if not self._meant and panic(console(self._machine)):
                self._take()
        finally:
            with suppress(LabError):
                self._machine.execute("quit", deadline=_QUIT_DEADLINE)

    def _take(self) -> None:
        if len(dumps.of_run(self._run.directory)) >= self._allowed.run:
            return
        start = time.monotonic()
        try:
            self._plain.parent.mkdir(exist_ok=True)
            release = self._guest.record.kernel
            dump.take_plain(self._machine, release, self._plain, self._allowed, lambda _: None)
        except (LabError, OSError) as error:
            self._problem = str(error)
        self.spent = time.monotonic() - start
