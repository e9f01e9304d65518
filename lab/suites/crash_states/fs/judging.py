# SPDX-License-Identifier: GPL-2.0-or-later
"""The states of a recorded workload, each given to a guest, and judged by what it found."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.crash.logfile import WriteLog
from lab.crash.marks import DURABLE, Levels
from lab.crash.states import EpochCoverage, StatePlan
from lab.crash.walk import DistinctState, EpochWalk, LogWalk, build
from lab.errors import GuestError
from lab.host.clone import clone
from lab.results.cases import titled
from lab.suites.crash_states.fs.bench import FsBench
from lab.suites.crash_states.fs.history import CrashMoment
from lab.suites.crash_states.fs.kinds import FileSystemKind
from lab.suites.crash_states.fs.posix import Ruled, judge
from lab.suites.crash_states.fs.reads import Looks, StateContents
from lab.suites.crash_states.fs.record import FsRecording
from lab.suites.crash_states.fs.tree import seen
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.crash_states.minimise import smaller
from lab.suites.guest import GuestLost

MOST_TRIES = 12
"""States that are tried to make a failing one smaller."""

CHECKED_EVERY = 25
"""Of so many states that no guest can tell from another, one is given to a guest all the same."""

_STAGES = {
    "assemble": "MOUNTS",
    "mount": "MOUNTS",
    "read": "READS",
    "write": "USABLE",
    "umount": "USABLE",
}
"""The rule that is broken where a guest gets no further."""

Found = tuple[Ruled, ...]


class RunEnds(Exception):
    """No more states are to be looked at."""


def rules_of(found: Found) -> tuple[str, ...]:
    """The ids of the rules that are broken."""
    return tuple(sorted({each.rule for each in found}))


@dataclass(frozen=True)
class BrokenState:
    """A state that breaks rules, and the smallest found that breaks the same."""

    first: PowerLoss
    loss: PowerLoss
    broken: Found

    @property
    def rules(self) -> tuple[str, ...]:
        """Their ids."""
        return rules_of(self.broken)


@dataclass(frozen=True)
class JudgedStates:
    """What the states of an epoch have come to: of the distinct ones `looked` were given to a
    guest, and `checked` more although they could not be told from one that was."""

    coverage: EpochCoverage
    looked: int
    checked: int
    broken: tuple[BrokenState, ...]
    """The first of each kind in the workload: of those that break the same rules."""


class FsJudging:
    """Judges the states of one workload after the other."""

    def __init__(
        self, bench: FsBench, kind: FileSystemKind, plan: StatePlan, reach: Callable[[], None]
    ) -> None:
        """`reach` is told when a guest has looked at a state."""
        self._bench = bench
        self._kind = kind
        self._plan = plan
        self._reach = reach
        self._looked = self._checked = 0
        self._known: set[tuple[str, ...]] = set()
        self._dice = random.Random()

    def states(self, recording: FsRecording) -> Iterator[JudgedStates]:
        """Judge all states of a recording; after each epoch what they have come to.  Raises
        LabError."""
        self._known.clear()
        # Of its own for each workload, or the same places of each would be checked.
        self._dice.seed(f"{self._plan.seed}:{self._kind.name}:{recording.workload.name}")
        levels = Levels(recording.levels(), DURABLE)
        with recording.open() as log:
            contents, looks = StateContents(log, recording.base), Looks()
            walk = LogWalk(log, recording.base, self._bench.path("durable"), self._plan, levels)
            try:
                for epoch in walk:
                    if epoch.epoch.last >= recording.start:
                        yield self._epoch(walk, epoch, recording, contents, looks)
                    contents.end(epoch.epoch)
            finally:
                # Also where nobody asks for the rest.
                walk.durable.unlink(missing_ok=True)

    def _epoch(
        self, walk: LogWalk, epoch: EpochWalk, recording: FsRecording, contents: StateContents,
        looks: Looks,
    ) -> JudgedStates:  # fmt: skip
        broken: list[BrokenState] = []
        self._looked = self._checked = 0
        for state in epoch:
            if state.state.cut < recording.start:
                epoch.coverage.distinct -= 1
                epoch.coverage.enumerated -= 1
                continue
            found = self._state(walk, state, recording, contents, looks)
            epoch.coverage.wrong += bool(found)
            kind = rules_of(found)
            if found and kind not in self._known:
                self._known.add(kind)
                broken.append(self._smaller(recording, walk.log, state, found))
        return JudgedStates(epoch.coverage, self._looked, self._checked, tuple(broken))

    def _state(
        self, walk: LogWalk, state: DistinctState, recording: FsRecording,
        contents: StateContents, looks: Looks,
    ) -> Found:  # fmt: skip
        """What is wrong with a state, which a guest looks at unless it is known what it would
        find."""
        moment = recording.moment(state.state.cut)
        content = contents.of(state.epoch, state.state)
        known = looks.find(content)
        if known is None:
            self._looked += 1
            return self._look(self._built(walk, state), recording, moment, looks, content)
        found = tuple(judged(known, recording, moment, self._kind))
        if self._dice.randrange(CHECKED_EVERY) == 0:
            self._checked += 1
            again = self._look(self._built(walk, state), recording, moment)
            if {each.rule for each in again} != {each.rule for each in found}:
                raise GuestError(
                    f"{recording.workload.name}: a state that holds the same wherever the guest "
                    f"read was found to be another: {_said(again)}, not {_said(found)}",
                    hint="report it: what a guest reads does not say what it finds",
                )
        return found

    def _built(self, walk: LogWalk, state: DistinctState) -> Path:
        medium = self._bench.path("state")
        build(walk.log, state, walk.durable, medium)
        return medium

    def _look(
        self, medium: Path, recording: FsRecording, moment: CrashMoment, looks: Looks | None = None,
        content: dict[int, int] | None = None,
    ) -> Found:  # fmt: skip
        """What is wrong with a medium, which is gone then; what a guest finds is noted."""
        try:
            answer, read = self._bench.judge(self._kind, medium)
        except GuestLost as lost:
            words = self._bench.own.last_words(
                lost, titled(self._kind.name, recording.workload.name)
            )
            self._bench.lose()
            return (Ruled("NO-HANG", " ".join([lost.reason, words])[:2000]),)
        finally:
            medium.unlink()
            self._reach()
        if looks and content is not None and not self._kind.choosing:
            looks.add(content, read, answer)
        return tuple(judged(answer, recording, moment, self._kind))

    def _smaller(
        self, recording: FsRecording, log: WriteLog, state: DistinctState, found: Found
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

    def again(self, recording: FsRecording, log: WriteLog, loss: PowerLoss) -> Found:
        """What is wrong with a state that is named by what it lost."""
        medium = self._bench.path("state")
        clone(recording.base, medium)
        loss.apply(log, medium)
        return self._look(medium, recording, recording.moment(loss.cut))


def _said(found: Found) -> str:
    return "; ".join(map(str, found)) or "nothing is wrong"


def judged(
    answer: dict[str, Any], recording: FsRecording, moment: CrashMoment, kind: FileSystemKind
) -> Iterator[Ruled]:
    """What is wrong with what a guest found."""
    history = recording.workload.history
    when = history.told(moment) if history else f"{moment.done} steps done"
    stage = answer["stage"]
    if stage in _STAGES:
        yield Ruled(_STAGES[stage], f"{when}: {stage}: {answer['said']}")
    if stage in ("assemble", "mount", "read"):
        return
    names, unreadable = seen(answer["names"])
    for said in unreadable:
        yield Ruled("READS", f"{when}: {said}")
    if history:
        yield from judge(
            names, history, moment, ordered=bool(kind.ordered), replacing=bool(kind.replacing)
        )
    checked = answer["checked"]
    if checked.get("status"):
        last = " ".join(checked["said"].split()[-60:])
        yield Ruled("CHECKS", f"{when}: exit status {checked['status']}: {last}")


def now() -> tuple[float, float]:
    """The clock, and the lab's own processor time; seconds."""
    return time.monotonic(), time.process_time()
