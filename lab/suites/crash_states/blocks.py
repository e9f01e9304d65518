# SPDX-License-Identifier: GPL-2.0-or-later
"""The block judge: the contract on raw sectors, on the host, without a guest.

Twice: `weigh` and `whole` say of each unit, whatever state it comes from, whether it may hold what
it holds, so that a state is judged by the sum of what differs (lab/crash/mosaic.py).  `judge` has a
whole state read by the oracle and judged by the contract: it is slow, gives the evidence, and tells
whether the first was right.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.copy.contract import RULES, Aftermath, Facts, Offload, Recovery, Ruling
from lab.copy.model import SECTOR, Completion
from lab.copy.oracle import classify
from lab.crash.logfile import WriteLog
from lab.suites.crash_states.copies import CopyOperation
from lab.suites.crash_states.recording import CopyRecording

JUDGED = ("NO-FOREIGN", "SOURCE", "NEIGHBOUR", "DURABLE")
"""The rules that say something of a copy after power was lost."""

_DONE = Completion(0, 0, 0.0)


@dataclass(frozen=True)
class Breach:
    """A rule that a copy has violated in some state, and the evidence; 0 where it is of none."""

    operation: int
    rule: str
    evidence: str

    def __str__(self) -> str:
        where = f"copy {self.operation}: " if self.operation else ""
        return f"{self.rule}: {where}{self.evidence}"


@dataclass(frozen=True)
class _Expected:
    """What a unit of a window may hold; `new` only where it is of a destination."""

    operation: int
    old: bytes
    new: bytes | None


class BlockJudge:
    """Judges the states of a recording; `base` is an open file, the medium before it, and `levels`
    say which operations must be durable at each level."""

    def __init__(
        self, recording: CopyRecording, levels: Sequence[frozenset[int]], base: int, log: WriteLog
    ) -> None:
        unit = log.sector
        self.recording = recording
        self._durable = levels
        self._base = base
        self._unit = unit
        self._expected = {
            at: expected
            for operation in recording.operations
            for at, expected in _expectations(operation, unit // SECTOR)
        }
        self._strays = sorted(
            {
                at
                for entry in log
                for at in range(entry.offset, entry.offset + entry.length, unit)
                if at not in self._expected
            }
        )

    def weigh(self, level: int, offset: int, data: bytes) -> list[int]:
        """For each unit of some bytes of the medium, 1 if it may not hold that."""
        durable, unit = self._durable[level], self._unit
        return [
            self._wrong(durable, offset + at, data[at : at + unit])
            for at in range(0, len(data), unit)
        ]

    def whole(self, level: int, medium: int) -> int:
        """How many units of all windows, on an open medium, may not hold what they hold."""
        found = 0
        for operation in self.recording.operations:
            window = operation.layout.window
            data = os.pread(medium, window.sectors * SECTOR, window.start * SECTOR)
            found += sum(self.weigh(level, window.start * SECTOR, data))
        return found

    def _wrong(self, durable: frozenset[int], offset: int, data: bytes) -> int:
        expected = self._expected.get(offset)
        if expected is None:
            before = os.pread(self._base, len(data), offset).ljust(len(data), b"\0")
            return int(data != before)
        if expected.new is None:
            return int(data != expected.old)
        if data == expected.new:
            return 0
        return int(data != expected.old or expected.operation in durable)

    def judge(self, cut: int, medium: int) -> list[Breach]:
        """What is wrong with a state, on an open medium, by the oracle and the contract."""
        found = [
            breach
            for operation in self.recording.operations
            for breach in judge_copy(self.recording, operation, cut, _window(operation, medium))
        ]
        outside = [at for at in self._strays if self._changed(at, medium)]
        if outside:
            found.append(far_from_all(outside[0] // SECTOR))
        return found

    def _changed(self, offset: int, medium: int) -> bool:
        now, before = (os.pread(file, self._unit, offset) for file in (medium, self._base))
        return now.ljust(self._unit, b"\0") != before.ljust(self._unit, b"\0")


def far_from_all(sector: int) -> Breach:
    """A sector has changed that is in the window of no copy."""
    return Breach(0, "NEIGHBOUR", f"sector {sector}, far from all copies, has changed")


def judge_copy(
    recording: CopyRecording, operation: CopyOperation, cut: int, data: bytes
) -> Iterator[Breach]:
    """What is wrong with the window of a copy after a power cut, given its bytes."""
    copy = operation.layout.copy
    findings = classify(copy, operation.tagging, data)
    told = operation.number in recording.acknowledged(cut)
    facts = Facts(
        findings=findings,
        aftermath=Aftermath.CACHE_PART,
        completion=_DONE if told else None,
        injected="",
        flushed=operation.number in recording.durable(cut),
        waited=None,
        deadline=0.0,
        crash="",
        complaints=(),
        stray_writes=(),
        offload=Offload(),
        recovery=Recovery(None, findings),
    )
    for rule in JUDGED:
        found = RULES[rule](facts)
        if found.verdict is Ruling.VIOLATED:
            yield Breach(operation.number, rule, found.evidence)


def _window(operation: CopyOperation, medium: int) -> bytes:
    window = operation.layout.window
    return os.pread(medium, window.sectors * SECTOR, window.start * SECTOR)


def _expectations(operation: CopyOperation, unit: int) -> Iterator[tuple[int, _Expected]]:
    """For each unit of an operation's window, by its place in bytes, what it may hold."""
    tagged = {at: operation.tagging.sector(at) for at in operation.layout.window}
    origins = operation.layout.copy.origins()
    for start in range(operation.layout.window.start, operation.layout.window.end, unit):
        sectors = range(start, start + unit)
        old = b"".join(tagged[at] for at in sectors)
        new = b"".join(tagged[origins[at]] for at in sectors) if start in origins else None
        yield start * SECTOR, _Expected(operation.number, old, new)
