# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest says on its console before it goes."""

import time
from collections.abc import Callable

from lab.foreign import end_of
from lab.vm.argv import CONSOLE_LOG
from lab.vm.machine import Machine

PANIC = "Kernel panic - not syncing"

DEATH = 30.0
"""Seconds without a word after which a QEMU that should end does not: a trace goes out over a slow
port, from a guest that gets little of a busy host."""

_CONSOLE = 1 << 20
"""Bytes of the console that are looked at, the last ones."""

_AT_MOST = 300.0
"""Seconds after which whoever still talks is not listened to any more."""


def hear_out(
    machine: Machine,
    silence: float,
    over: Callable[[], bool] = lambda: False,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait while a guest has something to say on its console: until QEMU has ended, all is known to
    be `over`, or there was no word for `silence` seconds.  A panic is followed by QEMU's end, so
    that DEATH counts then."""
    start = spoke = now()
    said = ""
    while machine.alive() and not over() and now() - start < _AT_MOST:
        if (told := console(machine)) != said:
            said, spoke = told, now()
        if now() - spoke > (max(silence, DEATH) if panic(said) else silence):
            return
        sleep(0.05)


def console(machine: Machine) -> str:
    """What the guest has said in this boot, the end of it if that is very long."""
    try:
        text = end_of(machine.directory / CONSOLE_LOG, _CONSOLE)
    except FileNotFoundError:
        return ""
    return text.replace("\r\n", "\n")


def panic(said: str) -> str:
    """The line in which a kernel says that it panics; '' if there is none."""
    lines = (line for line in said.splitlines() if PANIC in line)
    return next((line[line.index(PANIC) :].strip() for line in lines), "")
