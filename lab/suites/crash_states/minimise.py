# SPDX-License-Identifier: GPL-2.0-or-later
"""A state that breaks a rule, made smaller: fewest operations first, then fewest lost writes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lab.crash.logfile import WriteLog
from lab.suites.crash_states.blocks import Breach, far_from_all, judge_copy
from lab.suites.crash_states.copies import CopyOperation
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.crash_states.recording import CopyRecording


@dataclass(frozen=True)
class CopyFailure:
    """A state of some of a recording's operations that breaks a rule."""

    operations: tuple[int, ...]
    loss: PowerLoss

    def breaches(self, recording: CopyRecording, log: WriteLog) -> list[Breach]:
        """What is wrong with it; what other operations wrote is left out."""
        found = [each for each in recording.operations if each.number in self.operations]
        breaches = [
            breach
            for operation in found
            for breach in judge_copy(
                recording, operation, self.loss.cut, self._window(operation, recording, log)
            )
        ]
        strays = self._strays(recording, log)
        return [*breaches, far_from_all(strays[0])] if strays else breaches

    def _strays(self, recording: CopyRecording, log: WriteLog) -> list[int]:
        """The sectors outside of all windows, which nobody was to write to, that hold something."""
        held: dict[int, bytes] = {}
        for entry, length in self.loss.survivors(log):
            for sector in range(entry.offset // 512, (entry.offset + length) // 512):
                if sector not in recording.windows:
                    held[sector] = log.data(entry, sector * 512 - entry.offset, 512)
        return sorted(sector for sector, data in held.items() if any(data))

    def _window(self, of: CopyOperation, recording: CopyRecording, log: WriteLog) -> bytes:
        """The bytes of an operation's window in this state."""
        others = [each for each in recording.operations if each.number not in self.operations]
        window = of.layout.window
        start, end = window.start * 512, window.end * 512
        data = bytearray(of.tagging.data())
        for entry, length in self.loss.survivors(log):
            first, last = max(start, entry.offset), min(end, entry.offset + length)
            if first < last and not any(wrote(other, entry.offset) for other in others):
                data[first - start : last - start] = log.data(
                    entry, first - entry.offset, last - first
                )
        return bytes(data)


def wrote(operation: CopyOperation, offset: int) -> bool:
    """Whether what was written from a byte of the medium on is of an operation."""
    return offset // 512 in operation.layout.window


def minimise(found: CopyFailure, fails: Callable[[CopyFailure], bool]) -> CopyFailure:
    """The smallest state that still fails, as far as single steps lead there."""
    while smaller := next(filter(fails, _steps(found)), None):
        found = smaller
    return found


def _steps(found: CopyFailure) -> Iterator[CopyFailure]:
    if len(found.operations) > 1:
        for one in found.operations:
            yield replace(found, operations=(one,))
        for one in found.operations:
            rest = tuple(other for other in found.operations if other != one)
            yield replace(found, operations=rest)
    yield from (replace(found, loss=loss) for loss in smaller(found.loss))


def smaller(loss: PowerLoss) -> Iterator[PowerLoss]:
    """Losses a step smaller, great steps first: nothing lost, one thing, one thing less."""
    if not loss.lost and not loss.torn:
        return
    yield replace(loss, lost=(), torn=())
    if len(loss.lost) + len(loss.torn) > 1:
        yield from (replace(loss, lost=(index,), torn=()) for index in loss.lost)
        yield from (replace(loss, lost=(), torn=(each,)) for each in loss.torn)
        for index in loss.lost:
            yield replace(loss, lost=tuple(other for other in loss.lost if other != index))
        for each in loss.torn:
            yield replace(loss, torn=tuple(other for other in loss.torn if other != each))
