# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's kernel says of its tasks when nothing else answers any more.

The request goes over the serial console, which the kernel hears in an interrupt: a break, then a
key (Linux Documentation/admin-guide/sysrq.rst).  guest-scripts/init
has it do whatever is asked.
"""

import time

from lab.guest.console import connected
from lab.vm.argv import CONSOLE_LOG
from lab.vm.machine import Machine

LOUD, BLOCKED, ALL_TASKS = b"8", b"w", b"t"
"""Log everything to the console; blocked tasks; all tasks and what they wait for."""

_PAUSE = 0.2
_QUIET = 3.0
"""Seconds without a word after which the kernel has told everything."""
_MOST = 8 << 20
"""Bytes of it at most; all tasks are a few hundred KiB."""

_CONSOLE = "console"
"""The id of the console's chardev."""


def tasks(machine: Machine, deadline: float) -> str:
    """The blocked tasks, then all tasks; see _told()."""
    return _told(machine, deadline, BLOCKED, ALL_TASKS)


def blocked(machine: Machine, deadline: float) -> str:
    """The blocked tasks alone; see _told()."""
    return _told(machine, deadline, BLOCKED)


def _told(machine: Machine, deadline: float, *keys: bytes) -> str:
    """What the kernel tells within `deadline` seconds; empty if it does not.  The console is loud
    afterwards.  Raises GuestError when somebody else has the console, HostError when QEMU does not
    answer."""
    log = machine.directory / CONSOLE_LOG
    start = log.stat().st_size
    end = time.monotonic() + deadline
    with connected(machine.directory) as console:
        for key in (LOUD, *keys):
            machine.execute("chardev-send-break", {"id": _CONSOLE})
            console.sendall(key)
            # What the kernel prints must be taken, or QEMU waits for us with the guest's CPU.
            console.settimeout(_QUIET if key is keys[-1] else _PAUSE)
            while time.monotonic() < end:
                try:
                    if not console.recv(1 << 16):
                        break
                except TimeoutError:
                    break
    with log.open("rb") as file:
        file.seek(start)
        return file.read(_MOST).decode(errors="replace").replace("\r\n", "\n")
