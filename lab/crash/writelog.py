# SPDX-License-Identifier: GPL-2.0-or-later
"""The write log that QEMU's blklogwrites keeps, and the media that a power cut can leave.

The format is that of dm-log-writes (Linux drivers/md/dm-log-writes.c, struct
log_write_super and log_write_entry), all little-endian, in units of `sectorsize`:

    sector 0   u64 magic 0x6a736677736872, u64 version 1, u64 nr_entries, u32 sectorsize
    then, one after the other, each entry: one sector of header
               u64 sector, u64 nr_sectors, u64 flags, u64 data_len
               followed by nr_sectors of data, unless it is a discard

data_len only counts the text that a mark carries inside its header sector.  blklogwrites (QEMU
block/blklogwrites.c) sets the flush flag on an entry of its own and never FUA or marks.
dm-log-writes logs a write when it is durable: behind the flush that made it so, or when it has
completed if it has FUA, and then before writes that completed earlier and were not flushed yet.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntFlag
from pathlib import Path

from lab.errors import HostError

MAGIC = 0x6A736677736872
VERSION = 1
SUPER = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")


class Flag(IntFlag):
    """Entry flags (LOG_*_FLAG in dm-log-writes.c)."""

    FLUSH = 1
    FUA = 2
    DISCARD = 4
    MARK = 8
    METADATA = 16


@dataclass(frozen=True)
class LogEntry:
    """One logged write, flush or discard; `offset` and `length` are bytes on the medium.

    `data_at` is where its data starts in the log file, `next_at` where the next entry does.
    """

    index: int
    offset: int
    length: int
    flags: Flag
    data_at: int
    next_at: int

    @property
    def is_flush(self) -> bool:
        """Everything before it was made durable."""
        return bool(self.flags & Flag.FLUSH)


@dataclass(frozen=True)
class LogSuperblock:
    """How many entries a write log has, and the bytes of its sectors."""

    entries: int
    sector: int


def read(log: Path, after: LogEntry | None = None) -> list[LogEntry]:
    """The complete entries of a write log, all of them or those behind `after`.

    The superblock's count is trusted as far as the file reaches: an entry that the dying QEMU
    did not write out whole is left out, as a real log device would have lost it.
    Raises HostError when the file is not a write log.
    """
    with log.open("rb", buffering=0) as file:
        found = superblock(log, file.fileno())
        if found is None:
            return []
        first, at = (after.index + 1, after.next_at) if after else (0, found.sector)
        return list(entries(file.fileno(), found, first, at))


def superblock(log: Path, fd: int) -> LogSuperblock | None:
    """The superblock of an open write log; None of an empty file.  Raises HostError."""
    head = os.pread(fd, SUPER.size, 0)
    if not head:
        return None
    if len(head) < SUPER.size:
        raise HostError(f"{log}: not a write log: only {len(head)} bytes")
    magic, version, count, sector = SUPER.unpack(head)
    if magic != MAGIC or version != VERSION or sector < ENTRY.size:
        raise HostError(
            f"{log}: not a write log: magic {magic:#x}, version {version}, sector size {sector}"
        )
    return LogSuperblock(count, sector)


def entries(fd: int, of: LogSuperblock, index: int, at: int) -> Iterator[LogEntry]:
    """The complete entries of an open write log one by one, from number `index` on, whose header
    stands at `at`."""
    sector, size = of.sector, os.fstat(fd).st_size
    for number in range(index, of.entries):
        head = os.pread(fd, ENTRY.size, at)
        if len(head) < ENTRY.size:
            return
        first, sectors, flags, _ = ENTRY.unpack(head)
        data_at = at + sector
        at = data_at if flags & Flag.DISCARD else data_at + sectors * sector
        if at > size:
            return
        yield LogEntry(number, first * sector, sectors * sector, Flag(flags), data_at, at)


def carrying(log: Path, entries: list[LogEntry], mark: bytes) -> int:
    """How many of the entries have data that hold `mark`."""
    with log.open("rb", buffering=0) as source:
        return sum(
            mark in os.pread(source.fileno(), entry.length, entry.data_at)
            for entry in entries
            if not entry.flags & Flag.DISCARD
        )


def durable(entries: list[LogEntry]) -> list[LogEntry]:
    """The entries that survive a power cut which loses all of the volatile cache, in their order:
    all before the last flush, and behind that what has FUA, which makes nothing durable but
    itself.  What an entry with the flush flag writes comes after its flush."""
    flushes = [position for position, entry in enumerate(entries) if entry.is_flush]
    last = flushes[-1] if flushes else 0
    return entries[:last] + [entry for entry in entries[last:] if entry.flags & Flag.FUA]


def cached(entries: list[LogEntry]) -> list[LogEntry]:
    """The entries that such a power cut loses."""
    kept = {entry.index for entry in durable(entries)}
    return [entry for entry in entries if entry.index not in kept]


def kept_up_to(entries: list[LogEntry], length: int) -> list[LogEntry]:
    """What survives where the first `length` bytes of the cache do too, in the order of the log:
    what was durable already must not be overwritten by what was written before it."""
    kept = durable(entries) + prefix(cached(entries), length)
    return sorted(kept, key=lambda entry: entry.index)


def prefix(entries: list[LogEntry], length: int) -> list[LogEntry]:
    """The first `length` bytes that the entries write, in their order; the last entry may be cut.

    So a volatile cache can survive in part: written back up to some block, in the order in which
    it was filled.
    """
    kept: list[LogEntry] = []
    for entry in entries:
        if entry.length > length:
            return [*kept, replace(entry, length=length)] if length else kept
        kept.append(entry)
        length -= entry.length
    return kept


def replay(log: Path, entries: list[LogEntry], medium: Path) -> None:
    """Apply the entries, in order, to a medium."""
    with log.open("rb", buffering=0) as source, medium.open("r+b", buffering=0) as target:
        for entry in entries:
            if entry.flags & Flag.DISCARD:
                data = bytes(entry.length)
            else:
                data = os.pread(source.fileno(), entry.length, entry.data_at)
            os.pwrite(target.fileno(), data, entry.offset)
