# SPDX-License-Identifier: GPL-2.0-or-later
"""A group of processes that has so much memory, and no more, where this host lets us make one: a
host short of memory, for those that are in it."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")


def own() -> Path:
    """The memory cgroup of this process.  Raises LookupError where it has none."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for mount in (each.split() for each in MOUNTS.read_text().splitlines()):
            first = mount[2] == "cgroup" and "memory" in mount[3].split(",")
            second = mount[2] == "cgroup2" and controllers == ""
            if (first and controllers == "memory") or second:
                found = Path(mount[1]) / path.lstrip("/")
                if first or "memory" in (found / "cgroup.controllers").read_text().split():
                    return found
    raise LookupError("no memory cgroup")


@contextmanager
def memory(size: int) -> Iterator[Path]:
    """A group of processes that has `size` bytes of memory, which is empty at the end.  Raises
    OSError or LookupError where none can be made."""
    group = own() / f"lab-test-{secrets.token_hex(4)}"
    group.mkdir()
    try:
        names = ("memory.limit_in_bytes", "memory.max")
        limits = [group / name for name in names if (group / name).exists()]
        if not limits:
            raise LookupError(f"{group}: no memory controller")
        limits[0].write_text(str(size))
        for name, most in (("memory.memsw.limit_in_bytes", size), ("memory.swap.max", 0)):
            if (group / name).exists():
                (group / name).write_text(str(most))
        yield group
    finally:
        end = time.monotonic() + 20
        while (group / "cgroup.procs").read_text() and time.monotonic() < end:
            time.sleep(0.02)
        group.rmdir()


def why_not() -> str:
    """Why no such group can be made here; '' where one can."""
    try:
        with memory(1 << 30):
            return ""
    except (OSError, LookupError) as error:
        return f"no memory cgroup of one's own: {error}"


def inside(group: Path, *argv: str) -> list[str]:
    """A command line in that group."""
    return ["sh", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', os.fspath(group), *argv]
