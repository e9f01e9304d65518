# SPDX-License-Identifier: GPL-2.0-or-later
"""A bound on a QEMU's memory, whatever its guest makes it keep.

RLIMIT_DATA (getrlimit(2)), which prlimit(1) sets before it becomes QEMU, counts all that a process
may write to and shares with nobody: the guest's memory, QEMU's own, and what it translates.  What
it allocates beyond that it does not get, and says so.  Not kept back is what is mapped in the place
of another mapping (MAP_FIXED, mm/mmap.c), as QEMU maps memory of a guest that the host has it add;
a guest has no way to.  Unlike a cgroup it needs nobody's permission, and nothing of it is left to
be removed.  A cgroup would count the page cache of the guest's media as well, which the kernel
takes back when it wants to.
"""

import os
import resource
from functools import cache

from lab.errors import HostError
from lab.host.command import found, run

PROGRAM = "prlimit"
SPARE = 4 << 30
"""Bytes beside the guest's memory: QEMU translates into a gigabyte, each of its threads has some
megabytes of stack, and a controller may have memory of its own."""
_DEADLINE = 20.0


def bounded(memory: int) -> list[str]:
    """What to put before QEMU's command line for a guest with so many bytes of memory; nothing
    where no bound can be set."""
    if why_not():
        return []
    # Nobody but root may have more than the bound that is there already.
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    size = memory + SPARE
    return _words(size if most == resource.RLIM_INFINITY else min(size, most))


def _words(size: int) -> list[str]:
    return [PROGRAM, f"--data={size}", "--"]


@cache
def why_not() -> str:
    """Why QEMU's memory is not bounded here, found by trying; '' where it is."""
    if os.environ.get("LAB_BOUND") == "no":
        return "LAB_BOUND=no"
    if found(PROGRAM) is None:
        return f"{PROGRAM}: not found"
    try:
        said = run([*_words(SPARE), "sh", "-c", "ulimit -d"], deadline=_DEADLINE).strip()
    except HostError as error:
        return error.detail.strip() or error.message
    return "" if said == f"{SPARE >> 10}" else f"{PROGRAM} --data={SPARE}: ulimit -d says {said}"
