# SPDX-License-Identifier: GPL-2.0-or-later
"""The disks that crashfs works on: their sizes and caches, and what several of them are together.

A place is {"node": N, "disks": [N, ...], "assemble": [...], "release": [...]}: what is mounted, the
disks below it, and the commands that make it of these and take it apart, if there are any.
"""

import fcntl
import os
import subprocess
import time

import system
from patience import Patience, ended

START_READ_ONLY = "/sys/module/md_mod/parameters/start_ro"
"""Arrays write nothing before somebody writes to them (Documentation/admin-guide/md.rst)."""
# include/uapi/linux/fs.h: BLKFLSBUF
FLUSH_BUFFERS = 0x1261
PATIENCE = 60
"""Seconds for a command that puts disks together."""
BUSY = 10
"""Seconds for which something may be busy."""


def run(argv, within):
    """Run a program to its end.  Raises subprocess.TimeoutExpired."""
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        said, _ = ended(running, within)
    return {"status": running.returncode, "said": said.decode(errors="replace")[-4000:]}


def rescan(node):
    """Have the kernel ask a SCSI disk how large it is."""
    with open(f"/sys/block/{_name(node)}/device/rescan", "w") as file:
        file.write("1")
    return {"errno": 0}


def cache(node, volatile):
    """Have the kernel take a disk's cache for volatile, or send it no flushes and no FUA."""
    # Documentation/ABI/stable/sysfs-block
    path = f"/sys/block/{_name(node)}/queue/write_cache"
    wanted = "write back" if volatile else "write through"
    if system.read(path) != wanted:
        with open(path, "w") as file:
            file.write(wanted)
    return {"errno": 0}


def assemble(place):
    """Put together what lies on disks, of which nothing is in memory then.  Raises OSError."""
    for node in place["disks"]:
        fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, FLUSH_BUFFERS)
        finally:
            os.close(fd)
    if not place["assemble"]:
        return
    if os.path.exists(START_READ_ONLY):
        system.write(START_READ_ONLY, "1")
    _succeed(place["assemble"])
    # A resync reads and writes everything, at its own time.
    action = f"/sys/block/{_name(place['node'])}/md/sync_action"
    if os.path.exists(action):
        system.write(action, "frozen")


def release(place):
    """Take apart what lies on disks.  Raises OSError."""
    # An array that was not put together has no node.
    if place["release"] and os.path.exists(place["node"]):
        soon(lambda: _succeed(place["release"]))
    return {"errno": 0}


def soon(act):
    """Do what fails while something is busy.  Raises OSError."""
    patience = Patience(BUSY)
    while True:
        try:
            return act()
        except OSError:
            if patience.over():
                raise
            time.sleep(0.02)


def _succeed(argv):
    done = run(argv, PATIENCE)
    if done["status"]:
        raise OSError(5, f"{' '.join(argv)}: {done['said'].strip()}")


def _name(node):
    """What the kernel calls a node."""
    return os.path.basename(os.path.realpath(node))
