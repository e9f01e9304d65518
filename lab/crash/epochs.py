# SPDX-License-Identifier: GPL-2.0-or-later
"""A write log cut into epochs: what lies between two flushes, and is a set to a power cut.

A *cut* is how many entries of the log there were when power was lost.  In an epoch with writes
w1..wn a power cut after wk may have kept any of w1..wk.  What has FUA is durable by itself as soon
as it is logged; what an entry with the flush flag writes comes after its flush, in the next epoch.

Of several devices each has a cache of its own, and a flush makes durable what its own device had
been given, and nothing else.  What others have not flushed by then is a set still: the next epoch
begins with it.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.crash.logfile import WriteLog
from lab.crash.writelog import Flag, LogEntry

_BYTES = "Q"


@dataclass(frozen=True)
class Epoch:
    """The writes between two flushes, the first of which is number `number`, from 1 on, and before
    them those that other devices have not flushed.

    Cuts `first` to `last` (inclusive) are its own: the next entry behind `last` is the flush that
    ends it, or there is none.  Of its writes it holds where they stand in the log, 16 bytes each.
    """

    number: int
    first: int
    last: int
    ended: bool
    """A flush came behind it; the last epoch of a log may have none."""
    flushed: int
    """The device whose flush it was."""
    _log: WriteLog
    _indices: Sequence[int]
    _places: Sequence[int]

    def __len__(self) -> int:
        """How many writes it has."""
        return len(self._indices)

    def __getitem__(self, number: int) -> LogEntry:
        """A write, counted from 0."""
        return self._log.entry(self._indices[number], self._places[number])

    def writes(self) -> Iterator[LogEntry]:
        """All of them."""
        return map(self.__getitem__, range(len(self)))

    def written(self, cut: int) -> int:
        """How many of its writes are in the log at a cut."""
        low, high = 0, len(self._indices)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._indices[middle] < cut else (low, middle)
        return low

    def cut(self, written: int) -> int:
        """The first cut at which so many of its writes are in the log."""
        return max(self.first, self._indices[written - 1] + 1 if written else 0)

    def devices(self) -> list[int]:
        """Which device got each of its writes."""
        return [self._log.device(entry) for entry in self.writes()]

    def left(self) -> tuple[int, ...]:
        """The writes that its end has not made durable: other devices have them in their caches."""
        if not self._log.region:
            return ()
        devices = enumerate(self.devices())
        return tuple(number for number, device in devices if device != self.flushed)

    def behind(self) -> tuple["array[int]", "array[int]"]:
        """Where these stand in the log: the next epoch begins with them."""
        left = self.left()
        return (
            array(_BYTES, (self._indices[number] for number in left)),
            array(_BYTES, (self._places[number] for number in left)),
        )


def epochs(log: WriteLog) -> Iterator[Epoch]:
    """The epochs of a log, one by one; those without a write as well."""
    number, first, last = 1, 0, -1
    indices, places = array(_BYTES), array(_BYTES)
    for entry in log:
        last = entry.index
        if entry.is_flush:
            epoch = Epoch(number, first, entry.index, True, log.device(entry), log, indices, places)
            yield epoch
            number, first = number + 1, entry.index + 1
            indices, places = epoch.behind()
        if entry.length and not entry.flags & Flag.MARK:
            indices.append(entry.index)
            places.append(entry.data_at - log.sector)
    yield Epoch(number, first, last + 1, False, 0, log, indices, places)
