# SPDX-License-Identifier: GPL-2.0-or-later
"""The path dm-kcopyd: a mirror that comes into line, each of its regions copied by kcopyd.

Both legs lie on the same device, the second behind the first, so that the ranges are the regions of
the first leg: all of the same length, one behind the other.

Request:  {"op": "mirror.copy", "path": "dm-kcopyd", "node": DEVICE,
           "ranges": [[offset, bytes], ...], "to": OFFSET}
Answer:   {"errno": E, "done": RANGES, "said": STATUS, "seconds": T, "moved": MOVED}

MOVED is what its user asked of the mirror (meter.py).
"""

import contextlib
import errno
import os
import signal
import time

import dm
import system
import udev
from meter import Meter

NAME = "lab-mirror"
POLL = 0.005
DEADLINE = 24 * 3600.0
"""Seconds: longer than any hold; the host decides how long a copy may take."""
UNHARMED = "A"
"""Health of a leg (Documentation/admin-guide/device-mapper/…, drivers/md/dm-raid1.c): A alive, D a
write failed, S the copy failed, R a read failed."""


class QuietUdev:
    """While it is entered, udev does not look at devices that come up: its reads would be taken for
    the copy's.

    udevd is stopped by a signal.  Asked with `udevadm control --stop-exec-queue` it must be asked
    once more to go on, which whoever is killed meanwhile never does, and which udevd refuses whom
    others came before: its socket has no backlog.  A process that waits for the end of this one,
    or of the quiet, lets udevd go on.
    """

    def __enter__(self):
        daemon = udev.daemon()
        if daemon is None:
            raise system.Failure(f"find {udev.UDEVD}", "no process has that name")
        read, self._end = os.pipe()
        self._guard = os.fork()
        if not self._guard:
            try:
                os.setsid()  # who kills the copier's session does not mean it
                os.close(self._end)
                os.read(read, 1)
            finally:
                with contextlib.suppress(OSError):
                    os.kill(daemon, signal.SIGCONT)
                os._exit(0)
        os.close(read)
        os.kill(daemon, signal.SIGSTOP)

    def __exit__(self, *exception):
        os.close(self._end)
        os.waitpid(self._guard, 0)


def copy(request):
    """Make the mirror, wait until its legs are in line or one has failed, and take it away."""
    dm.remove(NAME)  # of a copy that was given up
    system.modprobe("dm_mod", "dm-mirror")
    with QuietUdev():
        start = time.monotonic()
        quiet = ["--noudevrules", "--noudevsync"]
        system.run(["dmsetup", "create", NAME, *quiet, "--table", table(request)])
        try:
            # Without udev its node has no link that would lead to that name.
            named = ["--noheadings", "--columns", "-o", "blkdevname", NAME]
            meter = Meter(f"/dev/{system.run(['dmsetup', 'info', *named]).strip()}")
            said = _settled()
            moved = meter.moved()
        finally:
            system.run(["dmsetup", "remove", *quiet, "--retry", NAME])
        seconds = time.monotonic() - start
    done, health = progress(said)
    failed = set(health) - {UNHARMED}
    return {
        "errno": errno.EIO if failed else 0,
        # Regions need not come into line in order: what failed says nothing of the others.
        "done": 0 if failed else done,
        "said": " ".join(said),
        "seconds": seconds,
        "moved": moved,
    }


def table(request):
    """The mirror's table (Documentation: drivers/md/dm-raid1.c, mirror_ctr).

    A log in memory, regions of the length of a range, two legs, errors handled.  Raises ValueError
    for ranges that no mirror has.
    """
    ranges = request["ranges"]
    first, length = ranges[0]
    for index, (offset, size) in enumerate(ranges):
        if (offset, size) != (first + index * length, length):
            raise ValueError("a mirror's regions have one length and follow one another")
    sectors, region = len(ranges) * length // system.SECTOR, length // system.SECTOR
    device = system.block_name(request["node"])
    legs = " ".join(f"/dev/{device} {at // system.SECTOR}" for at in (first, request["to"]))
    return f"0 {sectors} mirror core 1 {region} 2 {legs} 1 handle_errors"


def progress(words):
    """Regions in line, and the health of each leg, in the status of a mirror.

    `mirror 2 259:0 259:0 4/4 1 AA 1 core`
    """
    legs = int(words[1])
    done, _, _ = words[2 + legs].partition("/")
    return int(done), words[4 + legs]


def _settled():
    """The mirror's status once all regions are in line, or a leg has failed."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        said = dm.status(NAME)
        done, _, total = said[2 + int(said[1])].partition("/")
        if done == total or set(progress(said)[1]) - {UNHARMED}:
            return said
        time.sleep(POLL)
    raise TimeoutError(f"the mirror was not in line within {DEADLINE:.0f} s")
