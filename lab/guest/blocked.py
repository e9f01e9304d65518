# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks that a guest's kernel lets wait for ever, of which it need not complain (those that wait
for a bio are no hung tasks to it: block/blk.h, blk_wait_io())."""

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from lab.errors import GuestError, GuestSilence, KernelHang, LabError
from lab.guest import sysrq
from lab.guest.oops import unstamped
from lab.guest.traces import traces, waits_in

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
_LOOKS = 2
_BETWEEN = 2.0
"""Seconds after which a task that waits at the same place is one that is stuck there."""


def explained(silence: GuestSilence, guest: "Guest") -> GuestError:
    """A guest's silence as the hang of its kernel, with who waits and where, if a task of it waits;
    else as it was."""
    looks = _by_agent(guest)
    if not looks:
        # Nothing answers but the kernel itself.
        looks = _by_console(guest)
    stuck = _stuck(looks)
    if not stuck:
        return silence
    said = f"the guest's kernel hangs: a task waits in {waits_in(stuck)}"
    return KernelHang(said, detail=looks[-1])


def _stuck(looks: Sequence[str]) -> tuple[str, ...]:
    """The first trace of those that are the same in two looks; () if none is."""
    if len(looks) < _LOOKS:
        return ()
    before, now = (traces(map(unstamped, look.splitlines())) for look in looks)
    return next((trace for trace in now if trace in before), ())


def _by_agent(guest: "Guest") -> list[str]:
    """The stacks of blocked tasks, each time one looks; none where it does not answer."""
    looks: list[str] = []
    with suppress(LabError), closing(guest.connect()) as session:
        while len(looks) < _LOOKS:
            looks.append(session.run(["sh", "-c", _STACKS], deadline=_TELLS).stdout)
            time.sleep(_BETWEEN)
    return looks


def _by_console(guest: "Guest") -> list[str]:
    """The same as the kernel has it."""
    looks: list[str] = []
    with suppress(LabError):
        while len(looks) < _LOOKS:
            looks.append(sysrq.blocked(guest.machine, _TELLS))
            time.sleep(_BETWEEN)
    return looks
