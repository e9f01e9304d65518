# SPDX-License-Identifier: GPL-2.0-or-later
"""The states of a recorded workload, each given to a guest, and judged by what it found."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lab.crash.logfile import WriteLog
from lab.crash.marks import DURABLE, Levels
from lab.crash.states import EpochCoverage, StatePlan
from lab.crash.walk import DistinctState, LogWalk, build
from lab.host.clone import clone
from lab.suites.crash_states.fs.bench import FsBench
from lab.suites.crash_states.fs.kinds import FileSystemKind
from lab.suites.crash_states.fs.posix import Promise, Ruled, judge
from lab.suites.crash_states.fs.record import FsRecording
from lab.suites.crash_states.fs.tree import seen
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.crash_states.minimise import smaller
from lab.suites.guest import GuestLost

MOST_TRIES = 12
"""States that are tried to make a failing one smaller."""

_STAGES = {"mount": "MOUNTS", "read": "READS", "write": "USABLE", "umount": "USABLE"}
"""The rule that is broken where a guest gets no further."""


@dataclass(frozen=True)
class BrokenState:
    """A state that breaks rules, and the smallest found that breaks the same."""

    first: PowerLoss
    loss: PowerLoss
    broken: tuple[Ruled, ...]

    @property
    def rules(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(sorted({each.rule for each in self.broken}))


class FsJudging:
    """Judges the states of one workload after the other."""

    def __init__(
        self, bench: FsBench, kind: FileSystemKind, plan: StatePlan, reach: Callable[[int], None]
    ) -> None:
        self._bench = bench
        self._kind = kind
        self._plan = plan
        self._reach = reach
        self.judged = 0
        """States that a guest has looked at, smaller ones not counted."""
        self.excused: dict[str, int] = {}
        """What a file system does not promise, and how often that was seen."""

    def states(self, recording: FsRecording) -> Iterator[tuple[EpochCoverage, BrokenState | None]]:
        """Judge all states of a recording; after each epoch how much of it was looked at, and the
        first state that breaks a rule.  Raises LabError."""
        levels = Levels(recording.levels(), DURABLE)
        with WriteLog(recording.log) as log:
            walk = LogWalk(log, recording.base, self._bench.path("durable"), self._plan, levels)
            for epoch in walk:
                if epoch.epoch.last < recording.start:
                    continue
                broken = None
                for state in epoch:
                    if state.state.cut < recording.start:
                        epoch.coverage.distinct -= 1
                        continue
                    found = self._state(walk, state, recording)
                    epoch.coverage.wrong += bool(found)
                    if found and broken is None:
                        broken = self._smaller(recording, log, state, found)
                yield epoch.coverage, broken
            walk.durable.unlink()

    def _state(
        self, walk: LogWalk, state: DistinctState, recording: FsRecording
    ) -> tuple[Ruled, ...]:
        medium = self._bench.path("state")
        build(walk.log, state, walk.durable, medium)
        found = self._look(medium, recording, recording.promise(state.state.cut))
        self.judged += 1
        self._reach(self.judged)
        return found

    def _look(self, medium: Any, recording: FsRecording, promise: Promise) -> tuple[Ruled, ...]:
        """What is wrong with a medium, which is gone then."""
        try:
            answer = self._bench.judge(self._kind, medium)
        except GuestLost as lost:
            words = self._bench.own.last_words(lost)
            self._bench.lose()
            return (Ruled("NO-HANG", " ".join([lost.reason, words])[:2000]),)
        finally:
            medium.unlink()
        return tuple(self._unexcused(judged(answer, recording, promise), recording, promise))

    def _unexcused(
        self, broken: Iterator[Ruled], recording: FsRecording, promise: Promise
    ) -> Iterator[Ruled]:
        for each in broken:
            for one in self._kind.lenient:
                if one.excuses(recording.workload.step, promise, each):
                    self.excused[one.source] = self.excused.get(one.source, 0) + 1
                    break
            else:
                yield each

    def _smaller(
        self, recording: FsRecording, log: WriteLog, state: DistinctState, found: tuple[Ruled, ...]
    ) -> BrokenState:
        """The smallest state that breaks the same rules, as far as single steps lead."""
        first = loss = PowerLoss.of(state, log.sector)
        rules, tries = {each.rule for each in found}, MOST_TRIES
        while tries:
            for candidate in smaller(loss):
                tries -= 1
                again = self.again(recording, log, candidate)
                if rules <= {each.rule for each in again}:
                    loss, found = candidate, again
                    break
                if not tries:
                    break
            else:
                break
        return BrokenState(first, loss, found)

    def again(self, recording: FsRecording, log: WriteLog, loss: PowerLoss) -> tuple[Ruled, ...]:
        """What is wrong with a state that is named by what it lost."""
        medium = self._bench.path("state")
        clone(recording.base, medium)
        loss.apply(log, medium)
        return self._look(medium, recording, recording.promise(loss.cut))


def judged(answer: dict[str, Any], recording: FsRecording, promise: Promise) -> Iterator[Ruled]:
    """What is wrong with what a guest found."""
    stage = answer["stage"]
    if stage in _STAGES:
        yield Ruled(_STAGES[stage], f"{promise}: {stage}: {answer['said']}")
    if stage in ("mount", "read"):
        return
    names, unreadable = seen(answer["names"])
    for said in unreadable:
        yield Ruled("READS", f"{promise}: {said}")
    yield from judge(
        names, recording.before, recording.after, recording.workload.step, promise
    )  # fmt: skip
    checked = answer["checked"]
    if checked.get("status"):
        last = " ".join(checked["said"].split()[-60:])
        yield Ruled("CHECKS", f"{promise}: exit status {checked['status']}: {last}")


def now() -> tuple[float, float]:
    """The clock, and the lab's own processor time; seconds."""
    return time.monotonic(), time.process_time()
