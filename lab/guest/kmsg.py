# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel messages that mean the kernel itself is in trouble.

Patterns are anchored at the start of the message and written as the kernel prints them, so
that ordinary text that mentions a bug is none (Linux kernel/hung_task.c, kernel/watchdog.c,
lib/bug.c, mm/kasan/report.c, kernel/panic.c, kernel/rcu/tree_stall.h, kernel/locking/lockdep.c,
lib/ubsan.c, mm/kmemleak.c).
"""

import re

_OOPS = (
    r"BUG: (?:kernel NULL pointer dereference|unable to handle )|Oops: |kernel BUG at "
    r"|Kernel panic - not syncing|general protection fault|Unable to handle kernel "
)
_STALL = (
    r"INFO: task \S+ blocked for more than \d+ seconds"
    r"|watchdog: (?:BUG: soft lockup|CPU\d+: Watchdog detected hard LOCKUP)"
    r"|rcu: INFO: rcu_\w+ (?:self-)?detected (?:stall|expedited stalls)"
)
_LOCKS = (
    r"WARNING: (?:possible (?:circular locking|recursive locking|irq lock inversion) "
    r"|\S+-safe -> \S+-unsafe lock order|inconsistent lock state|suspicious RCU usage"
    r"|bad (?:unlock balance|contention) detected!|held lock freed!|Nested lock was not taken"
    r"|\S+ still has locks held!|lock held when returning to user space!)"
    r"|\[ BUG: Invalid wait context \]"
)
_SANITIZED = r"UBSAN: \S+ in |kmemleak: \d+ new suspected memory leaks"
_FATAL = rf"{_STALL}|(?:watchdog: )?BUG: |{_OOPS}"
_TROUBLE = re.compile(
    rf"{_FATAL}|{_LOCKS}|{_SANITIZED}"
    r"|WARNING: (?:CPU: \d+|\S+:\d+ at )|nvme nvme\d+: I/O tag \d+ .*timeout"
)
_IS_FATAL = re.compile(_FATAL)
_IS_OOPS = re.compile(_OOPS)
_IS_STALL = re.compile(_STALL)


def complaints(messages: list[str]) -> tuple[str, ...]:
    """The messages that speak of a hang, a lockup, an oops, a timed-out command, or of what the
    kernel's own checks found."""
    return tuple(message for message in messages if _TROUBLE.match(message))


def fatal(message: str) -> bool:
    """Whether the message says that the kernel hangs, has locked up or has oopsed: whatever runs
    after that proves nothing.  A warning is not that much."""
    return _IS_FATAL.match(message) is not None


def oopsed(message: str) -> bool:
    """Whether the message says that what ran in the kernel is gone for good; not that something
    takes long, as it may on a slow host, and not what a sanitizer has to say."""
    return _IS_OOPS.match(message) is not None


def stalled(message: str) -> bool:
    """Whether the message says that a task or a processor gets nowhere; where the host is slow it
    may yet."""
    return _IS_STALL.match(message) is not None
