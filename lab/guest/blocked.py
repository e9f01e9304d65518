# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks that a guest's kernel lets wait for ever, of which it need not complain (those that wait
for a bio are no hung tasks to it: block/blk.h, blk_wait_io())."""

import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from lab.errors import GuestError, GuestSilence, KernelHang, LabError
from lab.guest import sysrq
from lab.guest.oops import unstamped
from lab.guest.traces import traces, waits

if TYPE_CHECKING:
    from lab.guest.guest import Guest

_STACKS = """\
for task in /proc/[0-9]*; do
    grep -qs '^State:.D' "$task/status" || continue
    echo "task:$(cat "$task/comm") pid:${task#/proc/}"
    echo 'Call Trace:'
    sed 's/^\\[<0>\\]//' "$task/stack"
done
"""
"""As SysRq-w has it; proc(5)."""

_TELLS = 30.0
"""Seconds in which a guest that is asked must have told."""
_BETWEEN = 2.0
"""Seconds after which a task that waits at the same place is one that is stuck there."""


def explained(silence: GuestSilence, guest: "Guest") -> GuestError:
    """A guest's silence as the hang of its kernel, with who waits and where, if a task of it waits;
    else as it was."""
    said = _by_agent(guest) or _by_console(guest)
    if not (place := waits(said.splitlines())):
        return silence
    return KernelHang(f"the guest's kernel hangs: a task waits in {place}", detail=said)


def _by_agent(guest: "Guest") -> str:
    """What the stacks of blocked tasks are, each time one looks; '' where none stays the same."""
    looks = []
    with suppress(LabError), closing(guest.connect()) as session:
        for pause in (0.0, _BETWEEN):
            time.sleep(pause)
            looks.append(session.run(["sh", "-c", _STACKS], deadline=_TELLS).stdout)
        before, now = (set(traces(look.splitlines())) for look in looks)
        return looks[-1] if before & now else ""
    return ""


def _by_console(guest: "Guest") -> str:
    """The same of a guest in which nothing answers but the kernel itself."""
    with suppress(LabError):
        told = sysrq.blocked(guest.machine, _TELLS)
        return "\n".join(map(unstamped, told.splitlines()))
    return ""
