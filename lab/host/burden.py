# SPDX-License-Identifier: GPL-2.0-or-later
"""How busy this host is: load, memory, room on disk.

What reads /proc or /sys takes the root of the file system, so that tests can show another host.
"""

import os
from pathlib import Path

HOST = Path("/")


def load(root: Path = HOST) -> float:
    """Processes that run or are ready to, averaged over a minute (proc(5))."""
    return float((root / "proc/loadavg").read_text().split()[0])


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def total_memory(root: Path = HOST) -> int:
    """Bytes of memory that this host has, or that this process's control groups let it have."""
    return min([_meminfo("MemTotal", root), *(limit for limit, _ in _limits(root))])


def available_memory(root: Path = HOST) -> int:
    """Bytes that can be had without swapping, as the kernel estimates, within what this process's
    control groups allow."""
    left = [limit - used for limit, used in _limits(root)]
    return min([_meminfo("MemAvailable", root), *left])


def _meminfo(key: str, root: Path) -> int:
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    raise OSError(f"{root / 'proc/meminfo'}: no {key}")


def _limits(root: Path) -> list[tuple[int, int]]:
    """What each control group above this process may have, and has (cgroup v2)."""
    group = (root / "proc/self/cgroup").read_text().rpartition("::")[2].strip()
    top = root / "sys/fs/cgroup"
    found = []
    for place in (top / group.lstrip("/"), *(top / group.lstrip("/")).parents):
        if not place.is_relative_to(top):
            break
        try:
            limit = (place / "memory.max").read_text().strip()
            if limit != "max":
                found.append((int(limit), int((place / "memory.current").read_text())))
        except (OSError, ValueError):
            continue
    return found
