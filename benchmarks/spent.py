# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command takes: seconds by the clock, and of the CPUs, its guests' QEMUs included.

QEMU outlives the command that starts it.  This process is made the one to which such orphans fall
(PR_SET_CHILD_SUBREAPER, prctl(2)), so that what each took is known while it lives, and once it has
ended.
"""

import ctypes
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SUBREAPER = 36
"""include/uapi/linux/prctl.h: PR_SET_CHILD_SUBREAPER."""
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Spent:
    """Seconds, filled in at the end of a `spending` block."""

    clock: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.clock + other.clock, self.cpu + other.cpu)


def adopt_orphans() -> None:
    """Become the parent of whatever is left by the processes that this one starts."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@contextmanager
def spending() -> Iterator[Spent]:
    """Measure what all descendants of this process take within a block."""
    spent = Spent()
    before, start = cpu(), time.monotonic()
    yield spent
    spent.clock = time.monotonic() - start
    spent.cpu = cpu() - before


def cpu() -> float:
    """CPU seconds that descendants of this process have used so far, those that have ended
    included."""
    # What is reaped between the two would count twice or not at all, so it is done first.
    _reap()
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    return reaped.ru_utime + reaped.ru_stime + sum(map(_used, _descendants()))


def descendants_ended() -> bool:
    """Whether nothing goes on in the background."""
    _reap()
    return not _descendants()


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = int(_fields(int(path.name))[1])
            children.setdefault(parent, []).append(int(path.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        own = children.get(waiting.pop(), [])
        found += own
        waiting += own
    return found


def _used(pid: int) -> float:
    """CPU seconds of a process and of the children that it has waited for (proc_pid_stat(5))."""
    with suppress(OSError, IndexError):
        return sum(map(int, _fields(pid)[11:15])) / _TICK
    return 0.0


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third one on; the second may have anything in it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
