# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's memory, read out while it runs, and also while a request is held.

`dump-guest-memory` would be the command for it, but it drains first and so hangs QEMU for good when
a request is held; `pmemsave` copies guest-physical addresses and waits for nothing.  The file that
the memory of a restored guest was mapped from has the checkpoint's memory, not the guest's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.errors import HostError
from lab.vm.machine import Machine

PAGE = 4096
_CHUNK = 32 << 20
"""Bytes that QEMU is asked for at once: it does nothing else meanwhile."""
_DEADLINE = 120.0
"""Seconds for one of them; they take 0.1, and 1 on a host that is busy."""
_PART = "memory.part"
"""In the guest's directory, where QEMU works."""

_VIEW = 'AS "memory"'
"""What the CPUs see, among the views that `info mtree -f` has."""
_RANGE = re.compile(
    r"^\s*(?P<first>[0-9a-f]{16})-(?P<last>[0-9a-f]{16}) \(prio -?\d+, (?:ram|rom)\): "
    r"(?:pc\.ram|memory)(?:\s|$)",
    re.MULTILINE,
)
"""A part of the guest's RAM, which is called as QEMU does by itself or as argv.py does; `rom` is
what the firmware has write-protected of it."""


@dataclass(frozen=True)
class MemoryRange:
    """A range of guest-physical addresses that is RAM, in bytes; a multiple of PAGE."""

    start: int
    size: int


def ranges(machine: Machine) -> tuple[MemoryRange, ...]:
    """Where the guest has RAM, by address.  Raises HostError with QEMU's words."""
    said = str(
        machine.execute("human-monitor-command", {"command-line": "info mtree -f"}, deadline=30)
    )
    if found := parse(said):
        return found
    raise HostError("QEMU does not say where its guest has memory", detail=said[:2000])


def parse(mtree: str) -> tuple[MemoryRange, ...]:
    """The RAM in what `info mtree -f` prints; parts that touch are one."""
    view = next((part for part in mtree.split("FlatView #") if _VIEW in part), "")
    found: list[MemoryRange] = []
    for match in _RANGE.finditer(view):
        start, end = int(match["first"], 16), int(match["last"], 16) + 1
        if found and found[-1].start + found[-1].size == start:
            start = found.pop().start
        found.append(MemoryRange(start, end - start))
    return tuple(found)


def read(machine: Machine, where: MemoryRange) -> Iterator[tuple[int, bytes]]:
    """The bytes of a range, piece by piece, each with its address.

    The guest runs on between them, if it runs.  Raises HostError with QEMU's words, and OSError
    when there is no room for one piece.
    """
    part = machine.directory / _PART
    end = where.start + where.size
    try:
        for start in range(where.start, end, _CHUNK):
            size = min(_CHUNK, end - start)
            wanted = {"val": start, "size": size, "filename": _PART}
            machine.execute("pmemsave", wanted, deadline=_DEADLINE)
            data = part.read_bytes()
            if len(data) != size:
                raise HostError(f"QEMU saved {len(data)} of {size} bytes of memory at {start:#x}")
            yield start, data
    finally:
        part.unlink(missing_ok=True)


def total(found: tuple[MemoryRange, ...]) -> int:
    """Bytes of all ranges."""
    return sum(each.size for each in found)
