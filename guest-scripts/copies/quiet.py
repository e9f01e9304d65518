# SPDX-License-Identifier: GPL-2.0-or-later
"""While somebody copies, udev leaves the disks alone: its reads would be taken for the copy's.

Request:  {"op": "quiet.settled"}     answered when udev has done all that it had begun

udev probes a disk that was closed by one who could write, and one that has news: a SCSI disk may
have such with its first command.  By the lock that udev asks for before it probes (systemd,
"Locking Block Device Access") it waits for the copy, and the copy for it.  Device mapper and md it
never locks; they have no news, and what the lab opens by a node of its own (direct.open_node) was
never closed as far as udev knows.
"""

import fcntl
import os
import time
from contextlib import ExitStack, contextmanager

import system
from patience import Patience

UNLOCKED = ("dm-", "md", "drbd", "ram", "zram")
"""Disks that udev does not lock (systemd, src/udev/udev-worker.c, worker_lock_whole_disk), and
those that it does not probe."""

PATIENCE = 30.0
"""Seconds for udev to end what it has begun, of a guest that is not slowed down; a probe takes a
fifth of one under emulation."""
POLL = 0.005


@contextmanager
def undisturbed():
    """Keep udev from probing any disk meanwhile.  Raises Failure where one stays locked."""
    patience = Patience(PATIENCE)
    with ExitStack() as locked:
        for name in sorted(os.listdir("/sys/block")):
            if not name.startswith(UNLOCKED):
                _lock(locked, f"/dev/{name}", patience)
        yield


def settled(request):
    """Wait until udev has done all that it has begun."""
    system.settle()
    return {}


def _lock(locked, node, patience):
    try:
        # Read-only: by closing it nothing is written, and so nothing probed.
        fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # gone meanwhile, or without a medium: not probed either
        return
    locked.callback(os.close, fd)
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if patience.over():
                raise system.Failure(
                    f"flock {node}", f"somebody, such as udev, has had it for {patience}"
                ) from None
            time.sleep(POLL)
        else:
            return
