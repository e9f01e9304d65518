# SPDX-License-Identifier: GPL-2.0-or-later
"""One case of copy-faults: tag, freeze, act, release, observe, recover, judge."""

import time
from dataclasses import dataclass, replace
from typing import Any

from lab.copy.concurrent import Crowd
from lab.copy.contract import (
    Aftermath,
    CachedCopy,
    Facts,
    Offload,
    Verdict,
    judge,
    overall,
)
from lab.copy.ground import Guess
from lab.copy.model import Completion, Extent, Layout
from lab.copy.oracle import Findings, Tagging, classify
from lab.copy.paths.base import Observation
from lab.copy.plant import Plant
from lab.copy.sizes import exceeded, sizes
from lab.faults.actions import CACHED_READ, REHEARSAL, SIZE, Action
from lab.faults.model import Point, Stage
from lab.guest.kmsg import complaints
from lab.suites.copy_faults import crowd as crowds
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import DeviceFailure, GroundLost
from lab.suites.copy_faults.interruption import Interruption, InterruptionResult
from lab.suites.copy_faults.recovery import copied_again, observed, recovered, revive

_CACHED = "in the same copy, of what is in the page cache"


@dataclass(frozen=True)
class CaseResult:
    """A judged case."""

    point: Point
    action: Action
    facts: Facts
    rules: dict[str, Verdict]
    verdict: str
    seconds: float
    told: Completion | None = None
    """What the caller of the copy was told, whatever defect is planted."""
    messages: tuple[str, ...] = ()
    """What the guest's kernel logged meanwhile."""
    struck: Extent | None = None
    """The sectors of the request at the point; None where it is not known where that lies."""

    def document(self) -> dict[str, Any]:
        """The case as it stands in the run's JSON."""
        seen = self.facts
        copy, told = seen.findings.copy, seen.completion
        return {
            "point": str(self.point),
            "action": str(self.action),
            "copy": {
                "sources": [[source.start, source.sectors] for source in copy.sources],
                "destination": copy.destination,
                "unit": copy.unit,
            },
            "outcome": {
                "reached": seen.reached,
                "completion": told
                and {"status": told.status, "dw0": told.ranges_done, "error": told.error or None},
                "seconds": told and round(told.seconds, 6),
                "injected": seen.injected or None,
                "disturbed": seen.disturbed or None,
                "corrupted": list(seen.corrupted),
                "lost": list(seen.lost),
                "lied": seen.lied or None,
                "blind": seen.blind or None,
                "aftermath": str(seen.aftermath),
                "flushed": seen.flushed,
                "destination": seen.findings.summary(),
                "others": [each.summary() for each in seen.others] or None,
            },
            "sectors": {
                "struck": self.struck and [self.struck.start, self.struck.sectors],
                "copied": seen.findings.document(),
                "recovered": self._recovered(),
            },
            "rules": {
                rule: {"verdict": str(verdict.verdict), "evidence": verdict.evidence}
                for rule, verdict in self.rules.items()
            },
            "verdict": self.verdict,
            "seconds": round(self.seconds, 3),
        }

    def _recovered(self) -> dict[str, Any] | None:
        """What was there after the same copy without the fault; None if that was another copy."""
        seen, again = self.facts.findings, self.facts.recovery.findings
        return again.document() if again.copy == seen.copy else None


class BenchCase:
    """One cell of the matrix, on a bench whose guest is up and idle before and after."""

    def __init__(self, bench: Bench, setup: Setup, plant: Plant, hang: float) -> None:
        self._bench = bench
        self._setup = setup
        self._layout = setup.layout
        self._point = setup.point
        self._action = setup.action
        self._act = registry.find(setup.action.name)
        self._plant = plant
        self._hang = hang

    def run(self) -> CaseResult:
        """Carry the case out and judge it.

        Raises HostError or GuestError when the lab, and not the copy, failed, GroundLost where
        nobody can see any more what became of the copy.
        """
        point, action, run = self._point, self._action, self._bench.run
        start = time.monotonic()
        run.emit("lab", "case", point=str(point), action=str(action))
        facts, told = self._observe()
        verdicts = judge(facts)
        verdict = overall(facts, verdicts)
        run.emit("oracle", "verdict", point=str(point), action=str(action), verdict=verdict)
        seconds = time.monotonic() - start
        return CaseResult(
            point, action, facts, verdicts, verdict, seconds,
            told.completion, tuple(told.messages), self._struck(),
        )  # fmt: skip

    def _struck(self) -> Extent | None:
        """Where the request at the point reads or writes, on a path of which that is known."""
        path, point = self._bench.path, self._point
        pieces = self._layout.copy.pieces()
        if not point.k or path.points(len(pieces)) is None:
            return None
        source, target = pieces[path.begun(point) - 1]
        return source if point.stage is Stage.READ else target

    def _observe(self) -> tuple[Facts, InterruptionResult]:
        """What there was to be seen, and what the copy's caller was told."""
        bench, copy, plant = self._bench, self._layout.copy, self._plant
        oracle, rivals = bench.oracle, self._setup.rivals
        if self._action == CACHED_READ:
            bench.instrument.cache.empty()
        tagging = oracle.tag(self._layout)
        crowd = oracle.crowd(copy, rivals, tagging) if rivals else None
        told = self._interrupted(tagging, crowd)
        logs = told.logs or bench.logs()
        seen = observed(bench, logs, tagging, self._ranges_begun(told))
        offload = self._offload(seen, crowd)
        read = self._read_after(tagging, told)
        problem = ""
        if not bench.path.on_medium:
            # Only the guest can tell what became of the sectors.
            anew = told.aftermath is Aftermath.REMOUNTED
            problem = revive(bench) if told.ended else bench.mend(rebooted=anew)
        plant.medium(bench.ground, copy, tagging, _succeeded(told))
        findings, *others = oracle.look_at_crowd(crowd) if crowd else (oracle.look(copy, tagging),)
        if bench.path.on_medium and told.ended:
            problem = revive(bench)
        elif problem:
            bench.renew()
        if not told.ended:
            problem = problem or bench.instrument.check(copy, told.completion)
        facts = Facts(
            findings=findings,
            aftermath=told.aftermath,
            completion=told.completion and plant.completion(told.completion, copy),
            injected=self._injected(told),
            flushed=told.flushed or (bench.path.durable and _succeeded(told)),
            waited=told.waited,
            deadline=self._hang,
            crash=told.crash,
            complaints=self._complaints(told),
            stray_writes=tuple(bench.path.strays(logs, crowds.written(crowd) if crowd else copy)),
            offload=offload,
            recovery=recovered(bench, self._recovery_layout(), self._hang, problem),
            reached=told.reached,
            disturbed=self._disturbed(told),
            corrupted=told.corrupted,
            lost=told.lost,
            lied=told.lied,
            blind=told.blind,
            redundant=bench.path.redundant,
            others=tuple(others),
            cached=read and replace(read, medium=findings),
        )
        return self._with_more(facts, told), told

    def _offload(self, seen: Observation, crowd: Crowd | None) -> Offload:
        """Who moved the data."""
        path = self._bench.path
        if self._action == CACHED_READ:
            return Offload(untold="somebody else has read the same sectors meanwhile")
        return crowds.offload(path, seen, crowd) if crowd else path.offload(seen, self._layout.copy)

    def _read_after(self, tagging: Tagging, told: InterruptionResult) -> CachedCopy | None:
        """What programs read of a copy that was read meanwhile; what is on the medium is not known
        yet."""
        if self._action != CACHED_READ or told.ended or not told.reached or not _succeeded(told):
            return None
        # What the guest remembers to have written is not what the host has put on the medium.
        guess = None if self._bench.path.on_medium else tagging.copied(self._layout.copy)
        return CachedCopy(
            told.completion, self._read_cached(tagging, guess), meanwhile=told.meanwhile
        )

    def _interrupted(self, tagging: Tagging, crowd: Crowd | None) -> InterruptionResult:
        """What came of the copy itself.  Raises GroundLost."""
        bench = self._bench
        try:
            with bench.inquest.device_may_fail():
                told = Interruption(
                    bench, self._setup, tagging, self._plant, self._hang, crowd
                ).carry_out()
        except DeviceFailure as failure:
            told = InterruptionResult(crash=str(failure), aftermath=Aftermath.KILLED, ended=True)
        if told.ended and not bench.path.survives_boot:
            raise GroundLost(told.crash or f"no completion within {self._hang:.1f} s")
        return told

    def _with_more(self, facts: Facts, told: InterruptionResult) -> Facts:
        """The same with what only some cases come to: of a size, through the page cache; and what
        the kernel complained of behind the copy."""
        bench = self._bench
        if self._action == SIZE:
            by_limits = ", ".join(map(str, sizes(self._layout.copy, bench.path.bounds)))
            facts = replace(facts, size=by_limits, excess=self._is_excess())
        if self._action == REHEARSAL and bench.path.through_cache and _succeeded(told):
            facts = replace(facts, cached=self._through_cache())
        overheard = self._act.unprovoked(bench.take_overheard())
        return replace(facts, complaints=(*facts.complaints, *overheard))

    def _is_excess(self) -> bool:
        """Whether the device must refuse the copy for its size alone."""
        bench, copy = self._bench, self._layout.copy
        refuses = self._action == SIZE and not bench.path.splits
        return refuses and bool(exceeded(copy, bench.path.bounds))

    def _complaints(self, told: InterruptionResult) -> tuple[str, ...]:
        """What the kernel said of hangs and crashes, but for what the act itself provokes."""
        return self._act.unprovoked(complaints(told.messages))

    def _ranges_begun(self, told: InterruptionResult) -> int:
        """How many source ranges the device must have seen."""
        if not told.reached or told.crash:
            return 0
        if _succeeded(told) and not self._act.errno:
            return len(self._layout.copy.sources)
        return self._bench.path.begun(self._point)

    def _injected(self, told: InterruptionResult) -> str:
        if not self._act.errno or not told.reached:
            return ""
        operation = "read" if self._point.stage is Stage.READ else "write"
        return f"{operation} {self._point.k} failed with errno {self._act.errno}"

    def _disturbed(self, told: InterruptionResult) -> str:
        if not told.reached:
            return ""
        return f"{self._act.disturbs}: {told.place}" if told.place else self._act.disturbs

    def _recovery_layout(self) -> Layout:
        """The same copy; where it is too long, which it would be again, a short one: the other must
        not have harmed what comes next."""
        return self._bench.path.layout(1, 1) if self._is_excess() else self._layout

    def _through_cache(self) -> CachedCopy | None:
        """The same copy again, of tags that are in the page cache only; None if the guest, which
        alone could tell what came of that, ended right behind it."""
        bench, copy = self._bench, self._layout.copy
        tagging = bench.oracle.tag_cached(self._layout)
        request = self._plant.request(bench.path.request(copy))
        completion, failure = copied_again(bench, request, self._hang, _CACHED)
        if completion is None or failure:
            revive(bench)
            return CachedCopy(completion) if completion is None else None
        cache, guess = bench.instrument.cache, tagging.copied(copy)
        data = cache.read_mapped(tagging.window, guess)
        mapped = classify(copy, tagging, data) if data else None
        read = self._read_cached(tagging, guess)
        return CachedCopy(completion, read, bench.oracle.look(copy, tagging), mapped)

    def _read_cached(self, tagging: Tagging, guess: Guess | None) -> Findings:
        """What programs read of the copy."""
        copy = self._layout.copy
        data = self._bench.instrument.cache.read(tagging.window, guess)
        return classify(copy, tagging, self._plant.cached(data, copy, tagging))


def _succeeded(told: InterruptionResult) -> bool:
    return told.completion is not None and told.completion.succeeded
