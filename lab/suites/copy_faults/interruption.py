# SPDX-License-Identifier: GPL-2.0-or-later
"""How a copy is interrupted: brought to a point, acted on there, and let go or ended."""

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace

from lab.copy.answers import MetAnswer, checked
from lab.copy.concurrent import Crowd
from lab.copy.contract import Aftermath
from lab.copy.contract.facts import RAN_ON
from lab.copy.model import Completion
from lab.copy.oracle import Tagging
from lab.copy.paths.base import Logs
from lab.copy.plant import Plant
from lab.errors import LabError
from lab.faults import allocations
from lab.faults.model import Stage
from lab.faults.stepper import NotReached, Stepper
from lab.faults.throttle import FOREVER, Throttle
from lab.guest.kmsg import complaints
from lab.results.coverage import Circumstance
from lab.suites.copy_faults import crowd as crowds
from lab.suites.copy_faults.acts import ability, registry
from lab.suites.copy_faults.acts.scene import Effect, Grip, Scene
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import DeviceFailure
from lab.suites.copy_faults.fault import Strike, rate_for
from lab.suites.copy_faults.powercut import PowerCut


@dataclass(frozen=True)
class InterruptionResult:
    """What an interruption came to, for the caller of the copy and for whoever watched.

    `waited`: seconds from the release to the completion, or to the end of a copy whose caller was
    killed.  `ended`: the guest is gone, or must be ended.  `messages`: of the kernel.  `logs`: what
    reached the write logs.  `corrupted`, `lost`, `lied`: what the lab did to the medium (Effect).
    `blind`: why the write log cannot tell what was durable.  `place`: the functions in which the
    kernel was when an allocation failed.  `meanwhile`: what somebody else was told who should have
    been served.
    """

    completion: Completion | None = None
    waited: float | None = None
    flushed: bool = False
    reached: bool = True
    ended: bool = False
    crash: str = ""
    aftermath: Aftermath = Aftermath.LIVE
    messages: list[str] = field(default_factory=list)
    logs: Logs = field(default_factory=dict)
    corrupted: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    lied: str = ""
    blind: str = ""
    place: str = ""
    meanwhile: str = ""


class Interruption:
    """One copy on a bench whose guest is up and idle, interrupted once."""

    def __init__(
        self, bench: Bench, setup: Setup, tagging: Tagging, plant: Plant, hang: float,
        crowd: Crowd | None = None,
    ) -> None:  # fmt: skip
        self._bench = bench
        self._crowd = crowd
        self._copy = setup.layout.copy
        self._point = setup.point
        self._act = registry.find(setup.action.name)
        self._block_error = setup.block_error
        self._allocation = setup.allocation
        self._tagging = tagging
        self._plant = plant
        self._hang = hang
        flushes = not bench.path.passthrough
        strike = Strike(self._copy, self._point, self._act.errno, setup.cut, flushes)
        self._fault = self._act.fault(strike)

    def carry_out(self) -> InterruptionResult:
        """Interrupt the copy, and leave the medium as it is then.

        Raises DeviceFailure, HostError and GuestError.
        """
        bench = self._bench
        blind = self._blind()
        bench.set_fault(replace(self._fault, rules=self._plant.rules(self._fault.rules)))
        bench.taps.forget()
        if self._act.action.ends_guest:
            ended = self._end_guest()
            bench.works_for(Circumstance.PLAIN)
            return replace(ended, aftermath=self._act.aftermath, ended=True, blind=blind)
        told = self._interrupt() if self._fault.held else self._run_unheld()
        bench.works_for(Circumstance.PLAIN)
        aftermath = self._act.aftermath if told.reached else Aftermath.LIVE
        messages = bench.taps.kernel_messages() if told.waited is not None else []
        self._keep_memory(replace(told, aftermath=aftermath), messages)
        logs = bench.logs()
        doubtful = self._is_doubtful(told)
        ends = doubtful and bench.path.survives_boot
        if ends:
            bench.end()
        if doubtful:
            aftermath = Aftermath.KILLED if ends else Aftermath.REMOUNTED
        return replace(
            told, aftermath=aftermath, messages=messages, logs=logs,
            place=allocations.place(messages) if self._act.allocation else "",
            ended=ends or told.waited is None or self._act.action.costs_boot,
        )  # fmt: skip

    def _keep_memory(self, told: InterruptionResult, messages: list[str]) -> None:
        """Have the guest's memory kept, before anything ends it, where NO-HANG is violated."""
        if told.waited is None and told.aftermath in RAN_ON:
            self._bench.dump(f"no completion within {self._hang:.1f} s of the release")
        elif found := self._act.unprovoked(complaints(messages)):
            self._bench.dump(found[0])

    def _blind(self) -> str:
        """Why a medium that is rebuilt from the write log shows nothing of what is durable by
        itself, where it matters; ''.  All of a cache that is kept leaves nothing to ask."""
        matters = self._act.takes_cache and self._bench.path.durable
        return self._bench.blind() if matters else ""

    def _is_doubtful(self, told: InterruptionResult) -> bool:
        """Whether only the end of the guest, or at least of the mount, shows what is on the medium:
        where a layer lies, and where a file system reports success although the disk failed.  It
        may have written the same elsewhere, and may have it in memory only."""
        told_success = told.completion is not None and told.completion.succeeded
        fails = bool(self._act.errno) or self._act.fails_on
        failed = fails and told.reached and not self._bench.path.on_medium
        return bool(told.lied) or (failed and told_success and self._bench.path.durable)

    def _start(self) -> None:
        path = self._bench.path
        asked = crowds.request(path, self._crowd) if self._crowd else path.request(self._copy)
        if self._act.allocation:
            asked["failing"] = [self._act.allocation, self._allocation]
        self._bench.start(self._plant.request({**asked, **self._act.request}))

    def _hold(self) -> Grip:
        """Start the copy and freeze it at the point.  Raises NotReached."""
        bench = self._bench
        grip = self._hold_by_limit() if self._act.action.throttles else self._hold_by_breakpoint()
        bench.run.emit("stepper", "held", point=str(self._point))
        return grip

    def _hold_by_breakpoint(self) -> Stepper:
        bench = self._bench
        stepper = bench.stepper(self._copy, self._fault.fragment)
        stepper.arm(self._point)
        self._start()
        try:
            stepper.hold(self._point, self._fault.nth, bench.patience)
        except BaseException:
            # Whatever writes next would be held there, and nobody would release it.
            with suppress(LabError):
                stepper.disarm()
            raise
        return stepper

    def _hold_by_limit(self) -> Throttle:
        bench, k = self._bench, self._point.k
        throttle = Throttle(
            bench.guest.machine, bench.drive, bench.taps.written, bench.executor.has_answer
        )
        held = self._act.hold
        rate = rate_for(self._copy, k, held) if held else FOREVER
        throttle.hold(k, rate, self._start, bench.patience)
        return throttle

    def _interrupt(self) -> InterruptionResult:
        """Hold the copy, act on it, release it, and wait for its end."""
        bench, plant = self._bench, self._plant
        if plant.kernel_message():
            bench.log_to_kernel(plant.kernel_message())
        try:
            grip = self._hold()
        except NotReached:
            return self._ended(time.monotonic(), Effect(), reached=False)
        try:
            effect = self._do(grip)
            released = time.monotonic()
            self._come_late()
        except DeviceFailure:
            raise
        except BaseException:
            # Broken off, by whom ever: nobody else would let the copy go.
            with suppress(LabError):
                grip.release()
            raise
        grip.release()
        bench.run.emit("stepper", "release")
        told = self._ended(released, effect)
        return replace(told, meanwhile=effect.after(self._hang) or "")

    def _come_late(self) -> None:
        """Hold the copy for longer than it may take, where that is the planted defect."""
        if late := self._plant.delay(self._hang):
            time.sleep(late)
            self._bench.dump(f"no completion within {self._hang:.1f} s")

    def _run_unheld(self) -> InterruptionResult:
        """Let the copy run into the error, and wait for its end."""
        bench, counts = self._bench, self._act.action.counts
        failed = bench.failed_requests() if counts else 0
        self._start()
        told = self._ended(time.monotonic(), Effect())
        answer, reached = bench.answered or {}, True
        if counts:
            reached = bench.failed_requests() > failed
        elif self._crowd and answer:
            # Whether any of them ran at the same time.
            reached = checked(MetAnswer, answer).met > 0
        elif self._act.allocation and answer:
            reached = bool(answer.get("struck"))
        return replace(told, reached=reached)

    def _ended(self, since: float, effect: Effect, *, reached: bool = True) -> InterruptionResult:
        """Wait for the end of the copy."""
        completion = self._bench.completed(self._hang)
        waited = time.monotonic() - since
        if waited > self._hang:
            # Is it the copy that took so long, or did its QEMU have no processor?
            waited = max(0.0, waited - self._bench.executor.excused)
        # Whoever was killed is told nothing, but has ended.
        answered = self._bench.answered is not None
        return InterruptionResult(
            completion, waited if answered else None, reached=reached,
            corrupted=effect.corrupted, lost=effect.lost, lied=effect.lied,
        )  # fmt: skip

    def _do(self, grip: Grip) -> Effect:
        """Do to the held copy what the action says."""
        if self._act.do is None:
            return Effect()
        ability.require(self._bench, self._act)
        effect = self._act.do(self._scene(grip))
        self._bench.run.emit("stepper", "inject", action=self._act.name)
        return effect

    def _scene(self, grip: Grip) -> Scene:
        return Scene(
            self._bench, self._copy, self._act.action, self._point, self._tagging, grip,
            self._fault, self._hang, self._block_error,
        )  # fmt: skip

    def _end_guest(self) -> InterruptionResult:
        """Run the copy up to the point, kill QEMU there, and leave the medium that survives."""
        bench = self._bench
        cut = None
        if self._act.survivors:
            cut = PowerCut.prepared(bench.guest.directory, bench.path.stepped)
        told = InterruptionResult()
        if self._point.stage in (Stage.COMPLETED, Stage.FLUSHED):
            told = self._complete()
        else:
            try:
                grip = self._hold()
                # What is done may be its end.
                bench.about_to_end()
                self._do(grip)
            except NotReached:
                told = InterruptionResult(bench.completed(self._hang), reached=False)
        bench.end()
        bench.run.emit("stepper", self._act.name, point=str(self._point))
        logs = bench.logs()
        if cut:
            self._lose_power(cut, logs)
        return replace(told, logs=logs)

    def _lose_power(self, cut: PowerCut, logs: Logs) -> None:
        """Leave on each disk with points what outlives the power."""
        assert self._act.survivors
        kept = {
            drive: self._plant.survivors(
                self._act.survivors(self._copy, self._point, list(logs[drive]))
            )
            for drive in cut.bases
        }
        cut.rebuild(kept)
        left = [entry for entries in kept.values() for entry in entries]
        size = sum(entry.length for entry in left)
        self._bench.run.emit("crash", "rebuilt", entries=len(left), bytes=size)

    def _complete(self) -> InterruptionResult:
        """Let the copy run to its end undisturbed, and flush if the point says so."""
        self._start()
        start = time.monotonic()
        completion = self._bench.completed(self._hang)
        if completion is None:
            return InterruptionResult()
        waited = time.monotonic() - start
        flush = self._point.stage is Stage.FLUSHED and completion.succeeded
        if flush:
            self._bench.flush()
        return InterruptionResult(completion, waited, flushed=flush)
