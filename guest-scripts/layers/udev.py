# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether udev has handled what happened so far, without asking it: under emulation the program
that asks, `udevadm settle`, takes a tenth of a second to start.

udevd is at rest when the kernel has nothing for it that it has not read, it sleeps, and there is
no file `queue`, in this order: what it had read when nothing was left unread it was about to
handle when it did not sleep, and had in its queue when it did (systemd, src/udev/udev-manager.c).
"""

import contextlib
import os

UDEVD = "systemd-udevd"
"""Its workers have another name."""
PROC, QUEUE = "/proc", "/run/udev/queue"
NETLINK_KOBJECT_UEVENT, KERNEL_GROUP = 15, 1
"""include/uapi/linux/netlink.h; lib/kobject_uevent.c sends to that group."""


def daemon():
    """The pid of udevd; None where there is none."""
    for pid in filter(str.isdigit, os.listdir(PROC)):
        with contextlib.suppress(OSError), open(f"{PROC}/{pid}/comm") as file:
            if file.read().strip() == UDEVD:
                return int(pid)
    return None


def is_at_rest():
    """Whether udevd has handled all; no means that one does not know."""
    pid = daemon()
    return (
        pid is not None and not _unread() and _state(pid) == "S" and not os.path.exists(QUEUE)
    )  # fmt: skip


def _unread():
    """Whether somebody who listens to the kernel's events has some that they have not read."""
    with open(f"{PROC}/net/netlink") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    # sk Eth Pid Groups Rmem …: the protocol, who listens, to what, and the bytes unread.
    return any(
        int(row[1]) == NETLINK_KOBJECT_UEVENT and int(row[3], 16) & KERNEL_GROUP and int(row[4])
        for row in rows
    )


def _state(pid):
    """The state of a process, a letter (proc_pid_stat(5)); '' if it has gone."""
    try:
        with open(f"{PROC}/{pid}/stat") as file:
            return file.read().rpartition(") ")[2][:1]
    except OSError:
        return ""
