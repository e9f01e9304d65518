"""One case of copy-faults: tag, freeze, act, release, observe, recover, judge."""

import time
from dataclasses import dataclass, replace
from typing import Any

from lab.copy import nvme
from lab.copy.contract import (
    Aftermath,
    Recovery,
    Situation,
    Verdict,
    judge,
    overall,
)
from lab.copy.model import SECTOR, Completion
from lab.copy.plant import Plant
from lab.crash import writelog
from lab.crash.writelog import Entry
from lab.errors import LabError
from lab.faults.model import Action, Point, Stage
from lab.faults.stepper import NotReached, Stepper, fault
from lab.guest.kmsg import complaints
from lab.suites.bench import Bench
from lab.suites.options import Layout

_HOLD_DEADLINE = 30.0
"""Seconds for a copy to come to a point; it takes milliseconds."""


@dataclass(frozen=True)
class CaseResult:
    """A judged case."""

    point: Point
    action: Action
    situation: Situation
    rules: dict[str, Verdict]
    verdict: str
    seconds: float

    def document(self) -> dict[str, Any]:
        """The case as it stands in the run's JSON."""
        seen = self.situation
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
                "completion": told and {"status": told.status, "dw0": told.ranges_done},
                "seconds": told and round(told.seconds, 6),
                "injected": seen.injected or None,
                "aftermath": str(seen.aftermath),
                "flushed": seen.flushed,
                "destination": seen.findings.summary(),
            },
            "rules": {
                rule: {"verdict": str(verdict.verdict), "evidence": verdict.evidence}
                for rule, verdict in self.rules.items()
            },
            "verdict": self.verdict,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class _Told:
    """What the caller of the copy learned, and how long after the release; nothing so far."""

    completion: Completion | None = None
    waited: float | None = None
    flushed: bool = False
    reached: bool = True
    crash: str = ""


class Case:
    """One cell of the matrix, on a bench whose guest is up and idle before and after."""

    def __init__(
        self, bench: Bench, layout: Layout, point: Point, action: Action, plant: Plant, hang: float
    ) -> None:
        self._bench = bench
        self._layout = layout
        self._point = point
        self._action = action
        self._plant = plant
        self._hang = hang
        self._fault = fault(action, point, layout.copy)

    def run(self) -> CaseResult:
        """Carry the case out and judge it.

        Raises HostError or GuestError when the lab, and not the copy, failed.
        """
        point, action, run = self._point, self._action, self._bench.run
        start = time.monotonic()
        run.emit("lab", "case", point=str(point), action=str(action))
        situation = self._observe()
        verdicts = judge(situation)
        verdict = overall(situation, verdicts)
        run.emit("oracle", "verdict", point=str(point), action=str(action), verdict=verdict)
        return CaseResult(point, action, situation, verdicts, verdict, time.monotonic() - start)

    def _observe(self) -> Situation:
        bench, copy, plant = self._bench, self._layout.copy, self._plant
        tagging = bench.tag(self._layout.window)
        bench.set_fault(replace(self._fault, rules=plant.rules(self._fault.rules)))
        bench.forget()
        if self._action.ends_guest:
            told, aftermath = self._end_guest()
        else:
            told = self._interrupt()
            aftermath = Aftermath.KILLED if told.crash else Aftermath.LIVE
        entries = [] if self._action.ends_guest else bench.writes()
        plant.medium(bench.medium, copy, tagging, _succeeded(told))
        findings = bench.look(copy, tagging)
        begun = self._ranges_begun(told)
        offload = nvme.offload(bench.trace_lines(), copy, bench.drive.nsid, begun)
        lost = self._action.ends_guest or told.completion is None
        messages = [] if lost else bench.kernel_messages()
        if lost:
            bench.guest.machine.kill()
            bench.reboot()
        return Situation(
            findings=findings,
            aftermath=aftermath,
            completion=told.completion and plant.completion(told.completion, copy),
            injected=self._injected(told),
            flushed=told.flushed,
            waited=told.waited,
            deadline=self._hang,
            crash=told.crash,
            complaints=complaints(messages),
            stray_writes=self._stray(entries),
            offload=offload,
            recovery=self._recover(),
            reached=told.reached,
        )

    def _start(self) -> None:
        request = nvme.request(self._layout.copy, self._bench.drive)
        self._bench.start(self._plant.request(request))

    def _hold(self) -> Stepper:
        """Start the copy and freeze it at the point.  Raises NotReached."""
        bench = self._bench
        stepper = Stepper(bench.guest.machine, bench.drive, bench.executor.has_answer)
        stepper.arm(self._point)
        self._start()
        stepper.hold(self._point, self._fault.nth, _HOLD_DEADLINE)
        bench.run.emit("stepper", "held", point=str(self._point))
        return stepper

    def _interrupt(self) -> _Told:
        """Freeze the copy, act on it, release it, and wait for its end."""
        bench, plant = self._bench, self._plant
        if plant.kernel_message():
            bench.log_to_kernel(plant.kernel_message())
        try:
            stepper = self._hold()
        except NotReached:
            return _Told(bench.completed(self._hang), reached=False)
        if self._action.errno:
            stepper.inject()
            bench.run.emit("stepper", "inject", action=str(self._action))
        released = time.monotonic()
        time.sleep(plant.delay(self._hang))
        try:
            stepper.release()
            bench.run.emit("stepper", "release")
            completion = bench.completed(self._hang)
        except LabError:
            crash = bench.crash()
            if not crash:
                raise
            return _Told(crash=crash)
        return _Told(completion, time.monotonic() - released if completion else None)

    def _end_guest(self) -> tuple[_Told, Aftermath]:
        """Run the copy up to the point, kill QEMU there, and leave the medium that survives."""
        bench = self._bench
        base = bench.snapshot() if self._action is Action.POWER_CUT else None
        told = _Told()
        if self._point.stage in (Stage.COMPLETED, Stage.FLUSHED):
            told = self._complete()
        else:
            try:
                self._hold()
            except NotReached:
                told = _Told(bench.completed(self._hang), reached=False)
        bench.guest.machine.kill()
        bench.run.emit("stepper", str(self._action), point=str(self._point))
        if base is None:
            return told, Aftermath.KILLED
        survivors = self._plant.survivors(writelog.durable(bench.writes()))
        writelog.replay(bench.write_log, list(survivors), base)
        base.replace(bench.medium)
        bench.run.emit("crash", "rebuilt", entries=len(survivors))
        return told, Aftermath.POWER_LOST

    def _complete(self) -> _Told:
        """Let the copy run to its end undisturbed, and flush if the point says so."""
        self._start()
        start = time.monotonic()
        completion = self._bench.completed(self._hang)
        told = _Told(completion, time.monotonic() - start if completion else None)
        if self._point.stage is Stage.FLUSHED and _succeeded(told):
            self._bench.flush()
            told = replace(told, flushed=True)
        return told

    def _ranges_begun(self, told: _Told) -> int:
        """How many source ranges the device must have seen."""
        if not told.reached:
            return 0
        if self._point.k == 0 or self._action is Action.RESUME:
            return len(self._layout.copy.sources)
        return self._point.k

    def _injected(self, told: _Told) -> str:
        if not self._action.errno or not told.reached:
            return ""
        operation = "read" if self._point.stage is Stage.READ else "write"
        return f"{operation} {self._point.k} failed with errno {self._action.errno}"

    def _stray(self, entries: list[Entry]) -> tuple[str, ...]:
        """The logged writes that are not inside the destination."""
        target = self._layout.copy.target
        first, last = target.start * SECTOR, target.end * SECTOR
        return tuple(
            f"{entry.length} bytes written at sector {entry.offset // SECTOR}"
            for entry in entries
            if entry.length and not (first <= entry.offset and entry.offset + entry.length <= last)
        )

    def _recover(self) -> Recovery:
        """The same copy again, on fresh tags, with nothing in its way."""
        bench = self._bench
        tagging = bench.tag(self._layout.window)
        completion, problem = None, ""
        try:
            bench.start(nvme.request(self._layout.copy, bench.drive))
            completion = bench.completed(self._hang)
        except LabError:
            problem = bench.crash()
            if not problem:
                raise
        findings = bench.look(self._layout.copy, tagging)
        if completion is None:
            bench.guest.machine.kill()
            bench.reboot()
        return Recovery(completion, findings, problem)


def _succeeded(told: _Told) -> bool:
    return told.completion is not None and told.completion.succeeded
