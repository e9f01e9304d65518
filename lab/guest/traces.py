# SPDX-License-Identifier: GPL-2.0-or-later
"""Call traces on a guest's console: which functions a kernel was in when it complained.

As arch/x86/kernel/dumpstack.c prints them: `RIP: 0010:` with a function, and below `Call Trace:` a
line for each caller, of which those with `?` were only found on the stack.
"""

import re
from collections.abc import Iterable
from itertools import dropwhile

_RIP = re.compile(r"RIP: 0010:(?P<function>[\w.]+)\+0x")
_CALLER = re.compile(r"(?P<guess>\? )?(?P<function>[\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[\w+\])?")
_WITHIN = re.compile(r"</?[#\w]+>$|(?:Code|RSP|R\w\w|FS|CS|CR2|DR\d|PKRU): |RIP: ")
"""What else stands within a trace: whose stack it is, registers and code."""
_BEGINS = "Call Trace:"

_IDLE = {"pv_native_safe_halt", "native_safe_halt", "default_idle", "acpi_safe_halt", "mwait_idle"}
"""Where a processor is that has nothing to do."""

_SLEEPS = "__schedule"

WAITING = re.compile(
    r"context_switch|_*schedule(_loop|_timeout.*|_preempt_disabled|_hrtimeout.*)?|io_schedule.*"
    r"|.*wait_for_common.*|_*wait_for_completion.*|_*(wait|action)_on_bit.*|out_of_line_wait.*"
    r"|bit_wait.*|_*mutex_lock.*|_*ww_mutex.*|_*rwsem_down.*|_*down_(read|write).*|_*down.*"
    r"|blk_wait_io|_*wait_event.*|prepare_to_wait.*|folio_wait.*|__wait_on.*|percpu_(down|rwsem).*"
    r"|_*asm_.*|kthread_.*"
)
"""Functions that wait for whoever calls them."""


def traces(messages: Iterable[str]) -> list[tuple[str, ...]]:
    """The functions of each trace in messages of a kernel (without their time), innermost first;
    those of processors that had nothing to do are left out."""
    found: list[list[str]] = []
    inside = begun = False
    for message in map(str.strip, messages):
        if rip := _RIP.match(message):
            # The second of a trace, where it was interrupted, goes on with the first.
            if not inside:
                found.append([])
                begun = True
            found[-1].append(rip["function"])
        elif message == _BEGINS:
            if not begun:
                found.append([])
            inside, begun = True, False
        elif inside and (caller := _CALLER.fullmatch(message)):
            if not caller["guess"]:
                found[-1].append(caller["function"])
        elif not _WITHIN.match(message):
            inside = begun = False
    return [tuple(trace) for trace in found if trace and trace[0] not in _IDLE]


def where(messages: Iterable[str], most: int = 6) -> str:
    """The innermost functions of the first trace, `f <- g`, rather one of a task that ran than of
    one that slept, and of that from whoever waits; '' if there is none."""
    found = traces(messages)
    running = [trace for trace in found if trace[0] != _SLEEPS]
    if running:
        return " <- ".join(running[0][:most])
    return waits_in(found[0], most) if found else ""


def waits_in(trace: tuple[str, ...], most: int = 6) -> str:
    """The innermost functions of a task that sleeps, from whoever waits on, `f <- g`."""
    return " <- ".join((tuple(dropwhile(WAITING.fullmatch, trace)) or trace)[:most])
