# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a kernel was when its fault injection made an allocation fail, by its own words.

What it prints then, below a line of its own, is the task's trace (lib/fault-inject.c, fail_dump).
"""

from collections.abc import Iterable
from itertools import dropwhile

from lab.guest.traces import traces

SAID = "FAULT_INJECTION: forcing a failure."
_MOST = 5
_OWN = ("should_fail", "__should_fail")
"""The injection's own functions, the outermost of which the allocator has called."""


def place(messages: Iterable[str]) -> str:
    """The functions that the first allocation that was made to fail was for, innermost first, from
    the allocator's on: `f <- g`; '' if the kernel said nothing of one, as of those that may fail
    without a word (__GFP_NOWARN)."""
    behind = dropwhile(lambda message: not message.startswith(SAID), messages)
    trace = next(iter(traces(behind)), ())
    own = [at for at, name in enumerate(trace) if name.startswith(_OWN)]
    return " <- ".join(trace[own[-1] + 1 :][:_MOST]) if own else ""
