# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices with a defect, planted on purpose: what they would have made of what was logged.

Each keeps the number of entries, so that marks stay where they are.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lab.copy.model import SECTOR
from lab.crash.writelog import Flag
from lab.suites.crash_states.copies import CopyOperation
from lab.suites.crash_states.recording import CopyRecording, Logged, Plant


def _nothing(logged: Logged) -> Logged:
    """An entry that does nothing in the place of another."""
    return replace(logged[0], offset=0, length=0, flags=Flag.MARK), b"planted"


def drop_flush(logged: Sequence[Logged], _: CopyRecording | None = None) -> Iterator[Logged]:
    """Flushes do nothing."""
    for each in logged:
        yield _nothing(each) if each[0].is_flush else each


def late_write(logged: Sequence[Logged], _: CopyRecording | None = None) -> Iterable[Logged]:
    """What was written right before a flush reaches the medium behind it."""
    found = list(logged)
    for at in range(1, len(found)):
        if found[at][0].is_flush and found[at - 1][0].length:
            found[at - 1], found[at] = found[at], found[at - 1]
    return found


def early_write(logged: Sequence[Logged], _: CopyRecording | None = None) -> Iterable[Logged]:
    """What is written right behind a flush reaches the medium before it."""
    found, at = list(logged), 1
    while at < len(found):
        after = found[at][0]
        if found[at - 1][0].is_flush and after.length and not after.is_flush:
            found[at - 1], found[at] = found[at], found[at - 1]
            at += 1
        at += 1
    return found


def drop_fua(logged: Sequence[Logged], _: CopyRecording | None = None) -> Iterator[Logged]:
    """What has FUA is written like anything else.

    QEMU's SCSI disk makes a write and a flush of it (hw/scsi/scsi-disk.c, need_fua_emulation), and
    a log or a superblock is written so behind a flush: it is the flush behind a single write.
    """
    found = list(logged)
    for at, each in enumerate(found):
        alone = at > 1 and found[at - 1][0].length and found[at - 2][0].is_flush
        yield _nothing(each) if each[0].is_flush and alone else each


def one_flush(logged: Sequence[Logged], _: CopyRecording | None = None) -> Iterator[Logged]:
    """Of several disks only the first is flushed."""
    for each in logged:
        yield _nothing(each) if each[0].is_flush and each[0].offset else each


def torn_write(logged: Sequence[Logged], _: CopyRecording | None = None) -> Iterable[Logged]:
    """Of the longest write before each flush the first half reaches the medium."""
    found, first = list(logged), 0
    for at, (entry, _data) in enumerate(found):
        if entry.is_flush:
            if first < at:
                longest = max(range(first, at), key=lambda each: found[each][0].length)
                found[longest] = _halved(found[longest])
            first = at + 1
    return found


def _halved(logged: Logged) -> Logged:
    entry, data = logged
    half = entry.length // 2 // SECTOR * SECTOR
    return (replace(entry, length=half), data[:half]) if half else logged


def lost_write(logged: Sequence[Logged], _: CopyRecording | None = None) -> Iterable[Logged]:
    """What was written right before a flush never reaches the medium."""
    found = list(logged)
    for at in range(1, len(found)):
        if found[at][0].is_flush and found[at - 1][0].length:
            found[at - 1] = _nothing(found[at - 1])
    return found


def _early_acknowledgement(logged: Sequence[Logged], of: CopyRecording) -> Iterable[Logged]:
    """The last range of each copy reaches the device behind all that follows its success."""
    found = list(logged)
    for operation in of.operations:
        span = of.span(operation.number)
        flush = next((at for at in range(span.stop, len(found)) if found[at][0].is_flush), None)
        if len(span) and flush is not None:
            found.insert(flush, found.pop(span.stop - 1))
    return found


def _wrong_range(logged: Sequence[Logged], of: CopyRecording) -> Iterator[Logged]:
    firsts = _firsts(of)
    for at, (entry, data) in enumerate(logged):
        other = _foreign(firsts[at]) if at in firsts and data else b""
        yield entry, other + data[len(other) :]


def _flip_bit(logged: Sequence[Logged], of: CopyRecording) -> Iterator[Logged]:
    firsts = _firsts(of)
    for at, (entry, data) in enumerate(logged):
        flips = at in firsts and bool(data)
        yield entry, data[:64] + bytes([data[64] ^ 0x10]) + data[65:] if flips else data


def _firsts(of: CopyRecording) -> dict[int, CopyOperation]:
    """The first entry of each copy."""
    return {of.span(operation.number).start: operation for operation in of.operations}


def _foreign(operation: CopyOperation) -> bytes:
    """A block of what stands beside a copy, and belongs to none of its ranges."""
    first = operation.layout.window.start
    unit = operation.layout.copy.unit
    return b"".join(operation.tagging.sector(at) for at in range(first, first + unit))


def _stray_write(logged: Sequence[Logged], of: CopyRecording) -> Iterator[Logged]:
    """The last range of each copy is written a block too far."""
    lasts = {of.span(each.number).stop - 1: each for each in of.operations}
    for at, (entry, data) in enumerate(logged):
        operation = lasts.get(at)
        by = operation.layout.copy.unit * SECTOR if operation and entry.length else 0
        yield replace(entry, offset=entry.offset + by), data


def _write_source(logged: Sequence[Logged], of: CopyRecording) -> Iterator[Logged]:
    """Instead of its first range each copy writes the last block of its source."""
    firsts = _firsts(of)
    for at, (entry, data) in enumerate(logged):
        if at not in firsts or not entry.length:
            yield entry, data
            continue
        other = _foreign(firsts[at])
        end = max(source.end for source in firsts[at].layout.copy.sources) * SECTOR
        yield replace(entry, offset=end - len(other), length=len(other)), other


@dataclass(frozen=True)
class CrashPlant:
    """A defect, the rule that must be violated by it, and what it does."""

    rule: str
    does: str
    make: Plant


PLANTS = {
    "drop-flush": CrashPlant("DURABLE", "flushes do nothing", drop_flush),
    "late-write": CrashPlant(
        "DURABLE", "the last write before a flush is carried out behind it", late_write
    ),
    "lost-write": CrashPlant("DURABLE", "the last write before a flush is lost", lost_write),
    "early-acknowledgement": CrashPlant(
        "DURABLE", "a copy succeeds before its last range is written", _early_acknowledgement
    ),
    "wrong-range": CrashPlant(
        "NO-FOREIGN", "the first block of a copy gets other data", _wrong_range
    ),
    "flip-bit": CrashPlant("NO-FOREIGN", "a bit of what a copy wrote is flipped", _flip_bit),
    "stray-write": CrashPlant(
        "NEIGHBOUR", "the last range of a copy is written a block too far", _stray_write
    ),
    "write-source": CrashPlant("SOURCE", "a copy writes over its source", _write_source),
}
"""Every kind by its name."""
