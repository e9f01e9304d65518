# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU's NVMe controllers traced: the proof of a Copy, and what others asked for meanwhile."""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import product

from lab.copy.contract import Offload
from lab.copy.model import SECTOR, Copy, Extent
from lab.copy.paths.bios import SHOWN, Bio, BioKind, served, touched
from lab.copy.paths.placement import Placement
from lab.faults.model import Stage
from lab.vm import trace
from lab.vm.trace import TraceLine

TRACE_EVENTS = ("pci_nvme_copy*", "pci_nvme_read", "pci_nvme_write")
"""QEMU trace events (hw/nvme/trace-events) that tell what the device was asked to do."""

_PREFIX = "pci_nvme_"
_COMMANDS = ("copy", "read", "write")
_LBA = re.compile(r"\blba (0x[0-9a-f]+)")
_NSID = re.compile(r"\bnsid (\d+)")
_BLOCKS = re.compile(r"\bnlb (\d+)")


def parse_trace(text: str) -> list[TraceLine]:
    """What a trace log tells of the NVMe controllers, their prefix left out.

    Raises HostError for a line that is no trace event.
    """
    return [
        replace(line, event=line.event.removeprefix(_PREFIX))
        for line in trace.parse(text)
        if line.event.startswith(_PREFIX)
    ]


def offload(lines: list[TraceLine], copy: Copy, nsid: int, expected_ranges: int) -> Offload:
    """What the device did on namespace `nsid`: Copy commands with at least so many ranges, and no
    ordinary read or write of the copy's sectors."""
    moves = [(line, _bio(line, copy.unit)) for line in lines if _moves(line, nsid)]
    return _judged(lines, {nsid}, moves, copy, expected_ranges)


def offload_over(
    lines: list[TraceLine], copy: Copy, parts: Iterable[Placement], expected_ranges: int
) -> Offload:
    """The same of a copy on a device that is made of `parts`, which is split where one ends.

    Controllers are not told apart: what one namespace was asked for counts for all of its number.
    """
    moves = []
    for line, part in product(lines, parts):
        if _moves(line, part.drive.nsid):
            below = _bio(line, part.drive.block_size // SECTOR)
            if above := part.above(below.extent):
                moves.append((line, replace(below, extent=above)))
    return _judged(lines, {part.drive.nsid for part in parts}, moves, copy, expected_ranges)


def _judged(
    lines: list[TraceLine],
    nsids: set[int],
    moves: list[tuple[TraceLine, Bio]],
    copy: Copy,
    expected_ranges: int,
) -> Offload:
    """What Copy commands to the namespaces, and what they read and wrote otherwise, come to."""
    copies = sum(line.event == "copy" and any(_of(line, nsid) for nsid in nsids) for line in lines)
    ranges = sum(line.event == "copy_source_range" for line in lines)
    others = [(line, bio) for line, bio in moves if touched([bio], copy)]
    if others:
        said = "; ".join(f"{line.event} {line.arguments}" for line, _ in others[:SHOWN])
        own = f"{copies} Copy command, {ranges} source ranges" if copies else "no Copy command"
        who = f"{own}; the same sectors were accessed by: {said}"
        return served((bio for _, bio in others), copy, who)
    if not copies:
        return Offload(against="the device saw no Copy command")
    if ranges < expected_ranges:
        return Offload(against=f"the device copied {ranges} of {expected_ranges} ranges itself")
    return Offload(f"{copies} Copy command, {ranges} source ranges, no other I/O there")


def is_bystander(lines: list[TraceLine], copy: Copy, nsid: int, stage: Stage) -> bool:
    """Whether what the device was asked to read (or to write, by `stage`) was none of the copy's.

    It was asked for something, and all that was by ordinary reads (or writes) elsewhere on the
    namespace; the other controllers' have the same numbers, so nothing is concluded where a part of
    the copy is among them.
    """
    if stage is Stage.READ:
        ordinary, copied = "read", "copy_source_range"
    else:
        ordinary, copied = "write", "copy_out"
    if any(line.event == copied for line in lines):
        return False
    asked = [_bio(line, copy.unit) for line in lines if line.event == ordinary and _of(line, nsid)]
    return bool(asked) and not touched(asked, copy)


def _of(line: TraceLine, nsid: int) -> bool:
    """Whether a command is one to the namespace; what is no command is to none."""
    return line.event in _COMMANDS and _number(_NSID, line) == nsid


def _moves(line: TraceLine, nsid: int) -> bool:
    """Whether it is an ordinary read or write of the namespace."""
    return line.event in ("read", "write") and _of(line, nsid)


def _bio(line: TraceLine, unit: int) -> Bio:
    """A read or write as what it moves, of a namespace whose blocks have `unit` sectors."""
    extent = Extent(_number(_LBA, line) * unit, _number(_BLOCKS, line) * unit)
    return Bio(BioKind(line.event), extent, "the driver")


def _number(pattern: re.Pattern[str], line: TraceLine) -> int:
    """An argument of an event.  Raises HostError where this QEMU does not tell it."""
    found = pattern.search(line.arguments)
    if found is None:
        raise trace.unreadable(f"{_PREFIX}{line.event} {line.arguments}")
    return int(found[1], 0)
