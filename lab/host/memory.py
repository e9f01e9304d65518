# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's memory."""

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")


def available() -> int:
    """Bytes that programs may still use without anything being swapped out (proc_meminfo(5))."""
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0
