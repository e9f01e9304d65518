# SPDX-License-Identifier: GPL-2.0-or-later
"""The states of recorded copies, epoch by epoch: walked, judged, and what failed made smaller."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.crash.epochs import Epoch, epochs
from lab.crash.excerpt import LogExcerpt
from lab.crash.logfile import WriteLog
from lab.crash.marks import ACKNOWLEDGED, DURABLE, STARTED, Levels
from lab.crash.states import StatePlan
from lab.crash.walk import DistinctState, EpochWalk, LogWalk, build
from lab.errors import HostError
from lab.results.cases import Case, CaseStatus
from lab.suites.crash_states.blocks import BlockJudge, Breach
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.crash_states.minimise import CopyFailure, minimise
from lab.suites.crash_states.pace import StatePace
from lab.suites.crash_states.recording import CopyRecording
from lab.suites.crash_states.report import CoverageRow, StateFailure

CHECKED_EVERY = 10_000
"""Of so many states one is judged by the oracle and the contract too, and the last of an epoch."""

_SAID = {STARTED: "copy", ACKNOWLEDGED: "✓ copy", DURABLE: "durable: copy"}

_LOOKED_AT = 5
"""Of the states of an epoch that break a rule, how many are."""


@dataclass
class JudgedEpoch:
    """What an epoch has come to."""

    case: Case
    row: CoverageRow
    failures: list[StateFailure]


@dataclass
class CopyJudging:
    """Judges all states of a recording; `scratch` is a directory for media that go again.

    `tell` is told now and then how far it is.
    """

    recording: CopyRecording
    log: Path
    plan: StatePlan
    scratch: Path
    tell: Callable[[str], None]
    checked: int = 0
    _known: set[tuple[str, ...]] = field(default_factory=set)
    _failures: int = 0

    def count(self) -> int:
        """How many epochs there are."""
        with WriteLog(self.log) as log:
            return sum(1 for _ in epochs(log))

    def epochs(self) -> Iterator[JudgedEpoch]:
        """Judge one epoch after the other.  Raises HostError where the two judges differ."""
        base = self.scratch / "base"
        self.recording.base(base)
        with ExitStack() as stack:
            log = stack.enter_context(WriteLog(self.log))
            file = stack.enter_context(base.open("rb", buffering=0))
            levels = Levels(self.recording.marks, DURABLE)
            promised = [levels.operations(level) for level in range(levels.count + 1)]
            judge = BlockJudge(self.recording, promised, file.fileno(), log)
            walk = LogWalk(
                log, base, self.scratch / "durable", self.plan, levels, judge.weigh, judge.whole,
                self._groups,
            )  # fmt: skip
            pace = StatePace(self.tell)
            for epoch in walk:
                yield self._epoch(walk, epoch, judge, pace)

    def _groups(self, epoch: Epoch) -> list[list[int]]:
        """The ranges of each copy."""
        spans = [self.recording.span(each.number) for each in self.recording.operations]
        found: list[list[int]] = [[] for _ in spans]
        for number, entry in enumerate(epoch.writes()):
            for span, group in zip(spans, found, strict=True):
                if entry.index in span:
                    group.append(number)
        return found

    def _epoch(
        self, walk: LogWalk, epoch: EpochWalk, judge: BlockJudge, pace: StatePace
    ) -> JudgedEpoch:
        name = f"epoch-{epoch.epoch.number}"
        start, busy = time.monotonic(), time.process_time()
        pace.begin(name, epoch.expected)
        found: list[StateFailure] = []
        state = None
        for number, state in enumerate(epoch, 1):
            pace.reach(epoch.coverage.enumerated)
            wrong = state.weight > 0 and epoch.coverage.wrong <= _LOOKED_AT
            if wrong or number % CHECKED_EVERY == 0:
                self._look(walk, state, judge, name, found)
        if state:
            self._look(walk, state, judge, name, found)
        seconds, cpu = time.monotonic() - start, time.process_time() - busy
        failures = [replace(each, states=epoch.coverage.wrong) for each in found]
        return JudgedEpoch(
            _case(name, epoch, failures, seconds), CoverageRow(name, epoch.coverage, seconds, cpu),
            failures,
        )  # fmt: skip

    def _look(
        self, walk: LogWalk, state: DistinctState, judge: BlockJudge, name: str,
        found: list[StateFailure],
    ) -> None:  # fmt: skip
        """Judge a state by the oracle and the contract; the first of its kind is made smaller."""
        medium = self.scratch / "state"
        build(walk.log, state, walk.durable, medium)
        with medium.open("rb", buffering=0) as file:
            breaches = judge.judge(state.state.cut, file.fileno())
        self.checked += 1
        loss = PowerLoss.of(state, walk.log.sector)
        if bool(breaches) != bool(state.weight):
            said = "; ".join(map(str, breaches)) or "nothing is wrong"
            raise HostError(
                f"the lab's two judges differ: {loss}: {state.weight} units are wrong, and {said}",
                hint="keep the run's directory, and report it",
            )
        kind = tuple(sorted({breach.rule for breach in breaches}))
        if breaches and kind not in self._known:
            self._known.add(kind)
            found.append(self._smaller(walk.log, loss, breaches, name))

    def _smaller(
        self, log: WriteLog, first: PowerLoss, breaches: list[Breach], case: str
    ) -> StateFailure:
        """The smallest state that breaks the same rules."""
        rules = {breach.rule for breach in breaches}

        def fails(candidate: CopyFailure) -> bool:
            broken = {each.rule for each in candidate.breaches(self.recording, log)}
            return rules <= broken

        every = tuple(operation.number for operation in self.recording.operations)
        whole = CopyFailure(every, first)
        smallest = minimise(whole, fails) if fails(whole) else whole
        told = smallest.breaches(self.recording, log) or breaches
        self._failures += 1
        return StateFailure(
            self._failures, case, tuple(sorted(rules)), tuple(map(str, told)), 0,
            smallest.operations, smallest.loss, first, self._excerpt(log, smallest),
        )  # fmt: skip

    def _excerpt(self, log: WriteLog, failure: CopyFailure) -> LogExcerpt:
        """The log around a cut, with what was known of the copies that it takes."""
        marks = [
            (each, f"{_SAID[each.event]} {each.operation}")
            for each in self.recording.marks
            if each.operation in failure.operations
        ]
        return LogExcerpt.of(log, failure.loss.cut, marks)


def _case(name: str, epoch: EpochWalk, failures: list[StateFailure], seconds: float) -> Case:
    seen = epoch.coverage
    wrong = f"{seen.wrong} of {seen.distinct} states break a rule"
    lines = [
        line
        for each in failures
        for line in (
            f"failure {each.number}: {each.loss}",
            *(f"    {one}" for one in each.evidence),
        )
    ]
    reason = ""
    if seen.wrong:
        reason = f"{wrong}: {failures[0].evidence[0]}" if failures else f"{wrong}, as before"
    status = CaseStatus.FAIL if seen.wrong else CaseStatus.PASS
    said = [f"{seen.enumerated} states enumerated, {seen.distinct} judged", *lines]
    return Case(name, status, round(seconds, 3), reason, output="\n".join(said))
