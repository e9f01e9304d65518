# SPDX-License-Identifier: GPL-2.0-or-later
"""The frequency of the host's time stamp counter, which emulated CPUs read as theirs.

A guest's kernel finds it by counting against an emulated timer; on a busy host it has found a sixth
of it, and its clock and every timeout then ran six times too fast.
"""

import contextlib
import ctypes
import json
import mmap
import os
import platform
import time
from collections.abc import Callable
from functools import cache

from lab.host import dirs
from lab.host.qemu import host_key

_FILE = "tsc.json"
_RDTSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")
"""rdtsc; shl rdx, 32; or rax, rdx; ret."""
_SECONDS = 0.1
"""From one look to the other: a microsecond more or less is 10 ppm."""
_LOOKS = 50


@cache
def khz() -> int | None:
    """kHz, measured once on this host and its kernel; None where there is no such counter, or
    nobody may read it so."""
    path, host = dirs.cache() / _FILE, host_key()
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text())
        if known.get("host") == host:
            return int(known["khz"])
    found = _measured()
    if found:
        # All guests are told the same: it is part of what their checkpoints are made of.
        new = path.with_name(f"{_FILE}.{os.getpid()}")
        with contextlib.suppress(OSError):
            new.write_text(json.dumps({"host": host, "khz": found}))
            new.replace(path)
    return found


def arguments(accelerator: str) -> tuple[str, ...]:
    """What a guest's kernel is told of it (Documentation/admin-guide/kernel-parameters.txt).  It
    corrects that by 1 % at most."""
    found = khz() if accelerator == "tcg" else None
    return (f"tsc_early_khz={found}",) if found else ()


def _measured() -> int | None:
    if platform.machine() != "x86_64":
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:  # a host that lets nobody write what is executed
        return None
    page.write(_RDTSC)
    place = (ctypes.c_char * len(_RDTSC)).from_buffer(page)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(place))
    start, first = _look(read)
    time.sleep(_SECONDS)
    end, second = _look(read)
    return round((second - first) * 1_000_000 / (end - start))


def _look(read: Callable[[], int]) -> tuple[int, int]:
    """Nanoseconds and the counter at one moment: where least time passed between two looks."""
    looks = []
    for _ in range(_LOOKS):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        count = read()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        looks.append((after - before, (before + after) // 2, count))
    _, at, count = min(looks)
    return at, count
