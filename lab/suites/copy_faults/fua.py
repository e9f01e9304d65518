# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the write log can tell what a write with Force Unit Access made durable.

QEMU carries FUA out as a flush after the write, and QEMU 10 and later can leave that out right
after another flush: they count the write as one to be flushed only then.  blklogwrites marks no
write with FUA, so from such a log a power cut takes what was acknowledged as durable.  Whether a
QEMU does so with a disk of the lab's block graph is found by trying.
"""

from lab.copy.ground import Ask
from lab.copy.paths.find import reference
from lab.crash.writelog import Flag, LogEntry
from lab.errors import GuestError
from lab.suites.copy_faults.taps import Taps
from lab.vm.graph import Drive

_MISSED = (
    "the write log cannot tell: tried on {ref}, this QEMU logged a flush behind a write with FUA, "
    "and neither a flush nor FUA where a flush came right before that write"
)
_NOT_TRIED = "whether the write log tells of FUA was not tried on {ref}: {why}"
_NO_FLUSH = "the write log cannot tell: tried on {ref}, not even a flush was logged there"


def blind(drive: Drive, ask: Ask, taps: Taps) -> str:
    """Why the write log of a disk cannot tell what FUA makes durable; '' where it can.

    It can as well where the disk makes nothing of FUA at all: then none is there to be missed.
    The disk's first block is written as it was; nobody else may be writing.
    """
    ref = reference(drive)
    if drive.metadata:
        return _NOT_TRIED.format(ref=ref, why="it has metadata beside its blocks")
    try:
        after_write = _try(ref, ask, taps, flushed=False)
        after_flush = _try(ref, ask, taps, flushed=True)
    except GuestError as error:
        return _NOT_TRIED.format(ref=ref, why=error.message)
    return judged(ref, after_write, after_flush)


def judged(ref: str, after_write: list[LogEntry], after_flush: list[LogEntry]) -> str:
    """What `blind` says of the logs of a write with FUA: behind another write, behind a flush."""
    if not any(entry.is_flush for entry in after_flush):
        return _NO_FLUSH.format(ref=ref)
    if tells(after_flush) or not tells(after_write):
        return ""
    return _MISSED.format(ref=ref)


def tells(entries: list[LogEntry]) -> bool:
    """Whether a log shows that its last write, which had FUA, was made durable."""
    for entry in reversed(entries):
        if entry.is_flush or entry.flags & Flag.FUA:
            return True
        if entry.length:
            break
    return False


def _try(ref: str, ask: Ask, taps: Taps, *, flushed: bool) -> list[LogEntry]:
    taps.writes()
    ask(op="fua.force_unit_access", node=f"/dev/lab/{ref}", flushed=flushed)
    return taps.writes()
