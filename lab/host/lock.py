# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks between lab processes: flock on a file, released by the kernel when the owner dies."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.errors import HostError
from lab.host.dirs import not_writable

_UNKNOWN = "unknown"


def _nobody(_path: Path) -> None:
    """Default for `on_wait`: nothing to tell."""


@contextmanager
def held(
    path: Path, *, deadline: float, on_wait: Callable[[Path], None] = _nobody
) -> Iterator[None]:
    """Hold an exclusive lock on `path` (created if missing, never removed: removal would race).

    Waits up to `deadline` seconds and calls `on_wait` once if it has to wait at all.
    Raises HostError, naming the owner's pid, when the deadline passes.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise not_writable(path, error) from error
    try:
        _acquire(fd, path, deadline, on_wait)
        # Only for the words of who waits; on a full disk it is left out.
        with suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def holder(path: Path) -> str:
    """The pid of whoever holds a lock, or held it last; `unknown` where nothing tells."""
    with suppress(OSError):
        return path.read_text(errors="replace").strip() or _UNKNOWN
    return _UNKNOWN


def _acquire(fd: int, path: Path, deadline: float, on_wait: Callable[[Path], None]) -> None:
    end = time.monotonic() + deadline
    told = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not told:
                on_wait(path)
                told = True
            if time.monotonic() >= end:
                raise HostError(
                    f"{path.name}: another lab (pid {holder(path)}) holds the lock",
                    hint="wait for it, or end that process",
                ) from None
            time.sleep(0.05)
