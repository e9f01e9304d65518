# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest tells as it makes its layers, step by step, and why nothing comes any more."""

import os
import shutil
import time
from collections.abc import Iterator
from errno import ENOSPC
from typing import Any, TextIO

from lab.errors import GuestError, GuestSilence
from lab.foreign import decoded, tamed
from lab.guest import lastwords
from lab.guest.kmsg import oopsed, stalled
from lab.guest.oops import Console
from lab.host.command import tail
from lab.host.dirs import not_writable
from lab.host.patience import Patience
from lab.vm.argv import CONSOLE_LOG, LAYERS_LOG
from lab.vm.machine import Machine

_ENDED = "lab: layers up ended"

_DEADLINE = 180.0
"""Seconds for one layer; mkfs, a mirror's first copy and the like under emulation."""

_STALLED = 40.0
"""Seconds in which a kernel that has said that it gets nowhere may yet: after that long it says so
again (kernel/watchdog.c, twice the threshold of 10 s and a look each 4 s)."""

_LONGEST = 1 << 20
"""Characters of a line that a guest may say of its layers."""

_VALUES = 1 << 14
"""Values in such a line: capabilities and properties of one layer are some dozens."""

_MOST = 16 << 20
"""Characters of all these lines."""

_WORDS = 100
"""Lines of complaints that are kept, the last ones."""

_AFTERMATH = 2.0
"""Seconds without a word after which the trace of an oops is complete."""

_QUOTED = 60
"""Lines of the console in the error."""


def steps(machine: Machine, count: int) -> Iterator[dict[str, Any]]:
    """The steps that the guest tells, as they come, up to its last word; `count` disks, layers and
    settings are expected.

    Raises GuestError when it tells of a failure or its kernel oopses or gets nowhere, GuestSilence
    when it stops telling, HostError if QEMU dies.
    """
    words: list[str] = []
    with (machine.directory / LAYERS_LOG).open(errors="replace") as log:
        ear = _Ear(log, machine, count)
        while not (line := ear.next_line()).startswith(_ENDED):
            try:
                step = tamed(decoded(line, values=_VALUES))
            except ValueError:  # a program's complaint, or what a full disk left of a step
                step = None
            if isinstance(step, dict) and isinstance(step.get("event"), str):
                yield step
            else:
                words = [*words, line][-_WORDS:]
    if words:
        raise GuestError("layers up failed in the guest", detail="\n".join(words))


class _Ear:
    """Whoever listens to a guest that makes its layers, and to its console meanwhile."""

    def __init__(self, log: TextIO, machine: Machine, count: int) -> None:
        self._log = log
        self._machine = machine
        self._console = Console(machine.directory / CONSOLE_LOG)
        self._heard = 0
        # For a guest that says something each time before its deadline, and never comes to its end.
        self._patience = Patience(machine.process, _DEADLINE * (1 + count))

    def next_line(self) -> str:
        """The next line that is not empty.  Raises GuestError and HostError, as steps() does."""
        patience = Patience(self._machine.process, _DEADLINE)
        stall = ""
        line = ""
        while True:
            alive = self._machine.alive()
            line += self._log.readline(_LONGEST)
            if len(line) >= _LONGEST:
                raise GuestError(
                    f"layers up in the guest: a line of more than {_LONGEST} characters"
                )
            if line.endswith("\n"):
                self._count(line)
                if line.strip():
                    return line.strip()
                line = ""
            if not alive:
                raise self._machine.died()
            self._require_room()
            news = self._console.news()
            if oops := next(filter(oopsed, news), ""):
                lastwords.hear_out(self._machine, _AFTERMATH)
                raise self._quoting(f"the guest's kernel failed while its layers came up: {oops}")
            if not stall and (stall := next(filter(stalled, news), "")):
                patience = Patience(self._machine.process, _STALLED)
            if stall and patience.over():
                raise self._quoting(f"the guest's kernel hangs while its layers come up: {stall}")
            if patience.over():
                silence = f"layers up in the guest: nothing within {patience}"
                raise GuestSilence(silence, detail=self._quoted())
            time.sleep(0.01)

    def _count(self, line: str) -> None:
        """Raise GuestError for more lines than the guest can need, in length or in time."""
        self._heard += len(line)
        if self._heard > _MOST:
            raise GuestError(f"layers up in the guest says more than {_MOST} characters")
        if self._patience.over():
            silence = f"layers up in the guest: no end within {self._patience}"
            raise GuestSilence(silence, detail=self._quoted())

    def _require_room(self) -> None:
        directory = self._machine.directory
        if shutil.disk_usage(directory).free == 0:
            # QEMU drops what it cannot write, so nothing would ever come.
            raise not_writable(directory, OSError(ENOSPC, os.strerror(ENOSPC)))

    def _quoting(self, message: str) -> GuestError:
        return GuestError(message, detail=self._quoted())

    def _quoted(self) -> str:
        return tail(lastwords.console(self._machine), _QUOTED)
