# SPDX-License-Identifier: GPL-2.0-or-later
"""A write log as a stream: read entry by entry, and written, in memory that does not grow with it.

The format is told in writelog.py.  Whole logs are here never in memory: of an entry there are its
32 bytes, of its data what is asked for.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from lab.crash.writelog import (
    ENTRY,
    MAGIC,
    SUPER,
    VERSION,
    Flag,
    LogEntry,
    LogSuperblock,
    entries,
    superblock,
)
from lab.errors import HostError

_PLAIN = Flag(0)


def position(path: Path) -> int:
    """How many entries a log has by now; none where nothing was written yet.  Raises HostError."""
    if not path.exists() or not path.stat().st_size:
        return 0
    with WriteLog(path) as log:
        return log.position


class WriteLog:
    """An open write log to read, in a `with` block; QEMU may be adding to it meanwhile.

    `region`: where it is of several devices, each of which has so many bytes of the medium, one
    behind the other (see joint.py); 0 of a single one.
    """

    def __init__(self, path: Path, region: int = 0) -> None:
        """Open it.  Raises HostError if it is no write log, or none is there."""
        self.path = path
        self.region = region
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise HostError(f"{path}: {error.strerror}") from error
        try:
            self.sector = self._superblock().sector
        except BaseException:
            self.close()
            raise

    def _superblock(self) -> LogSuperblock:
        found = superblock(self.path, self._fd)
        if found is None:
            raise HostError(f"{self.path}: not a write log: it is empty")
        return found

    @property
    def position(self) -> int:
        """How many entries it has by now: where a mark that is set now stands (see marks.py)."""
        return self._superblock().entries

    def __iter__(self) -> Iterator[LogEntry]:
        """Its complete entries, one by one."""
        return entries(self._fd, self._superblock(), 0, self.sector)

    def device(self, entry: LogEntry) -> int:
        """Which device got an entry, a flush as well."""
        return entry.offset // self.region if self.region else 0

    def entry(self, index: int, at: int) -> LogEntry:
        """Entry `index`, whose header stands at byte `at`."""
        return next(entries(self._fd, LogSuperblock(index + 1, self.sector), index, at))

    def data(self, entry: LogEntry, start: int = 0, length: int | None = None) -> bytes:
        """What an entry wrote from its byte `start` on; of a discard zeroes."""
        length = entry.length - start if length is None else length
        if entry.flags & Flag.DISCARD:
            return bytes(length)
        return os.pread(self._fd, length, entry.data_at + start)

    def text(self, entry: LogEntry) -> str:
        """The text of a mark, as dm-log-writes keeps it; '' of any other entry."""
        if not entry.flags & Flag.MARK:
            return ""
        *_, length = ENTRY.unpack(os.pread(self._fd, ENTRY.size, entry.data_at - self.sector))
        length = min(length, self.sector - ENTRY.size)
        said = os.pread(self._fd, length, entry.data_at - self.sector + ENTRY.size)
        return said.rstrip(b"\0").decode(errors="replace")

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)

    def __enter__(self) -> "WriteLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LogWriter:
    """Writes a log that whoever knows the format can read, in a `with` block.

    Sectors of nothing but zeroes become holes.  The superblock counts the entries when the block
    ends well, as dm-log-writes does when it is taken down.
    """

    def __init__(self, path: Path, sector: int) -> None:
        """Begin a log of sectors of so many bytes.  Raises OSError."""
        if sector < ENTRY.size or sector % 512:
            raise ValueError(f"{sector} bytes are no sector of a write log")
        self._sector = sector
        self._count = 0
        self._at = sector
        self._file = path.open("wb", buffering=0)

    def write(self, offset: int, data: bytes, flags: Flag = _PLAIN) -> None:
        """An entry that writes; `offset` in bytes, like the data in whole sectors."""
        self._head(offset, len(data), flags)
        if data != bytes(len(data)):
            os.pwrite(self._file.fileno(), data, self._at)
        self._at += len(data)

    def discard(self, offset: int, length: int) -> None:
        """An entry that discards."""
        self._head(offset, length, Flag.DISCARD)

    def flush(self, offset: int = 0) -> None:
        """A flush on its own; of several devices, of that to which the offset belongs."""
        self._head(offset, 0, Flag.FLUSH)

    def mark(self, text: str) -> None:
        """A mark.  Raises ValueError where the text does not fit into its sector."""
        said = text.encode()
        if len(said) > self._sector - ENTRY.size:
            raise ValueError(f"a mark of {len(said)} bytes; {self._sector - ENTRY.size} fit")
        self._head(0, 0, Flag.MARK, said)

    def _head(self, offset: int, length: int, flags: Flag, text: bytes = b"") -> None:
        if offset % self._sector or length % self._sector:
            raise ValueError(f"{length} bytes at {offset} are no whole sectors of {self._sector}")
        first, sectors = offset // self._sector, length // self._sector
        head = ENTRY.pack(first, sectors, flags, len(text)) + text
        os.pwrite(self._file.fileno(), head, self._at)
        self._at += self._sector
        self._count += 1

    def __enter__(self) -> "LogWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                os.ftruncate(self._file.fileno(), self._at)
                head = SUPER.pack(MAGIC, VERSION, self._count, self._sector)
                os.pwrite(self._file.fileno(), head, 0)
        finally:
            self._file.close()
