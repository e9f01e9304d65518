# SPDX-License-Identifier: GPL-2.0-or-later
"""One allocation of the task that copies fails: the k-th of a kind, and that of no other task.

Of any copy:  "failing": ["failslab" or "fail_page_alloc", K]
Its answer:   "struck": whether there was a k-th

By the kernel's fault injection (Documentation/fault-injection/fault-injection.rst): `task-filter`
and make-it-fail keep it to a task, `interval` lets K - 1 go by, `times` ends it.  How many have
gone by the kernel counts from its boot on, whatever the interval is, and shows nobody
(lib/fault-inject.c, should_fail_ex).  So the count is brought to a multiple of K first, by
allocations of no account, of which one fails.  fail-nth, which counts anew, would make any kind of
fault, such as a timeout of null_blk.
"""

import os
from contextlib import contextmanager

import system

DEBUG = "/sys/kernel/debug"
TASK = "/proc/self/make-it-fail"
PAGE_EACH = "/proc/self/cmdline"
"""Each read of it allocates a page (fs/proc/base.c, get_mm_cmdline)."""

KINDS = {
    "failslab": {"ignore-gfp-wait": "N", "cache-filter": "N"},
    # The highmem that is ignored is memory of user space and of files, as the kernel's default is.
    "fail_page_alloc": {"ignore-gfp-wait": "N", "ignore-gfp-highmem": "Y", "min-order": 0},
}
NOTHING = {"probability": 0, "task-filter": "N", "interval": 1, "verbose": 1}

_tasks = []
"""make-it-fail of this task, open while an allocation of a copy is to fail."""


@contextmanager
def counted():
    """What is done inside is the copy itself, whose allocations count, if those of any copy do."""
    for task in _tasks:
        os.pwrite(task, b"1", 0)
    try:
        yield
    finally:
        for task in _tasks:
            os.pwrite(task, b"0", 0)


@contextmanager
def failing(kind, nth):
    """Have the nth allocation that is counted inside fail; whether one did stands in the dictionary
    that this gives.  Raises Failure where the kernel has no such thing."""
    place, told = f"{DEBUG}/{kind}", {}
    _tasks.append(os.open(TASK, os.O_WRONLY | os.O_CLOEXEC))
    try:
        once = {"space": 0, "task-filter": "Y", "times": 1, "interval": nth, "probability": 100}
        _put(place, {"verbose": 0, "verbose_ratelimit_interval_ms": 0, **KINDS[kind], **once})
        if nth > 1:
            _count_to_a_multiple(place, kind, nth)
        # Of what follows the kernel says where it was.
        _put(place, {"times": 1, "verbose": 2})
        yield told
        told["struck"] = system.read(f"{place}/times") == "0"
    finally:
        os.close(_tasks.pop())
        _put(place, NOTHING)


def _count_to_a_multiple(place, kind, nth):
    page = os.open(PAGE_EACH, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in range(nth):
            try:
                with counted():
                    allocate(kind, page)
            except OSError:
                pass  # that one failed, as one must
    finally:
        os.close(page)
    if system.read(f"{place}/times") != "0":
        raise system.Failure(f"{place}: {nth} allocations", "none of them failed")


def allocate(kind, page):
    """Make at least one allocation of a kind."""
    if kind == "failslab":
        os.close(os.eventfd(0))
    else:
        os.pread(page, 1, 0)


def _put(place, wanted):
    for name, value in wanted.items():
        system.put(f"{place}/{name}", value)
