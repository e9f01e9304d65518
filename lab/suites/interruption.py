"""How a copy is interrupted: brought to a point, acted on there, and let go or ended."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol

from lab.copy.contract import Aftermath
from lab.copy.model import SECTOR, Completion, Copy
from lab.copy.oracle import flip_bit
from lab.copy.plant import Plant
from lab.crash import writelog
from lab.crash.writelog import Entry
from lab.faults.model import Action, Point, Stage, ranges_written
from lab.faults.stepper import NotReached, Stepper, fault
from lab.faults.throttle import FOREVER, Throttle, rate_for
from lab.suites.bench import Bench

_HOLD_DEADLINE = 30.0
"""Seconds for a copy to come to a point; it takes milliseconds."""

_DELAY = 0.25
"""Seconds for which `delay` holds a request: long for a disk, nothing for the guest's timeout."""

_RESET_HOLD = 2.0
"""Seconds for which a write waits while the controller is reset; the reset begins much sooner."""

_UNPLUG_HOLD = 0.5
"""Seconds between the order to unplug and the release, so that the guest has begun to obey."""

_AFTERMATHS = {
    Action.KILL: Aftermath.KILLED,
    Action.POWER_CUT: Aftermath.POWER_LOST,
    Action.POWER_CUT_KEPT: Aftermath.CACHE_KEPT,
    Action.POWER_CUT_PREFIX: Aftermath.CACHE_PART,
}


@dataclass(frozen=True)
class Told:
    """What an interruption came to, for the caller of the copy and for whoever watched.

    `waited`: seconds from the release to the completion.  `messages`: of the kernel.  `entries`:
    the write log's.  `corrupted`: sectors that the lab damaged.
    """

    completion: Completion | None = None
    waited: float | None = None
    flushed: bool = False
    reached: bool = True
    crash: str = ""
    aftermath: Aftermath = Aftermath.LIVE
    messages: list[str] = field(default_factory=list)
    entries: tuple[Entry, ...] = ()
    corrupted: tuple[int, ...] = ()


class _Grip(Protocol):
    """What holds a request."""

    def release(self) -> None: ...


class Interruption:
    """One copy on a bench whose guest is up and idle, interrupted once."""

    def __init__(
        self, bench: Bench, copy: Copy, point: Point, action: Action, plant: Plant, hang: float
    ) -> None:
        self._bench = bench
        self._copy = copy
        self._point = point
        self._action = action
        self._plant = plant
        self._hang = hang
        self._fault = fault(action, point, copy)

    def carry_out(self) -> Told:
        """Interrupt the copy, and leave the medium as it is then.

        Raises DeviceFailed, HostError and GuestError.
        """
        bench = self._bench
        bench.set_fault(replace(self._fault, rules=self._plant.rules(self._fault.rules)))
        bench.forget()
        if self._action.ends_guest:
            return replace(self._end_guest(), aftermath=_AFTERMATHS[self._action])
        told = self._interrupt()
        unplugged = self._action is Action.UNPLUG and told.reached
        aftermath = Aftermath.UNPLUGGED if unplugged else Aftermath.LIVE
        messages = bench.kernel_messages() if told.completion else []
        entries = tuple(bench.writes())
        return replace(told, aftermath=aftermath, messages=messages, entries=entries)

    def _start(self) -> None:
        self._bench.start(self._plant.request(self._bench.path.request(self._copy)))

    def _hold(self) -> _Grip:
        """Start the copy and freeze it at the point.  Raises NotReached."""
        bench = self._bench
        grip = self._hold_by_limit() if self._action.throttles else self._hold_by_breakpoint()
        bench.run.emit("stepper", "held", point=str(self._point))
        return grip

    def _hold_by_breakpoint(self) -> Stepper:
        bench = self._bench
        stepper = Stepper(bench.guest.machine, bench.drive, bench.executor.has_answer)
        stepper.arm(self._point)
        self._start()
        stepper.hold(self._point, self._fault.nth, _HOLD_DEADLINE)
        return stepper

    def _hold_by_limit(self) -> Throttle:
        bench, k = self._bench, self._point.k
        throttle = Throttle(
            bench.guest.machine, bench.drive, bench.written, bench.executor.has_answer
        )
        rate = rate_for(self._copy, k, _RESET_HOLD) if self._action is Action.RESET else FOREVER
        throttle.hold(k, rate, self._start, _HOLD_DEADLINE)
        return throttle

    def _interrupt(self) -> Told:
        """Hold the copy, act on it, release it, and wait for its end."""
        bench, plant = self._bench, self._plant
        if plant.kernel_message():
            bench.log_to_kernel(plant.kernel_message())
        try:
            grip = self._hold()
        except NotReached:
            return Told(bench.completed(self._hang), reached=False)
        corrupted = self._act(grip)
        released = time.monotonic()
        time.sleep(plant.delay(self._hang))
        grip.release()
        bench.run.emit("stepper", "release")
        completion = bench.completed(self._hang)
        waited = time.monotonic() - released if completion else None
        if self._action is Action.UNPLUG:
            bench.await_unplugged(self._hang)
        return Told(completion, waited, corrupted=corrupted)

    def _act(self, grip: _Grip) -> tuple[int, ...]:
        """Do to the held copy what the action says; returns the sectors that it corrupted."""
        bench, action = self._bench, self._action
        corrupted: tuple[int, ...] = ()
        if isinstance(grip, Stepper) and action.errno:
            grip.inject()
        elif action is Action.CORRUPT:
            part = self._copy.pieces()[ranges_written(self._point) - 1][1]
            corrupted = (part.start + part.sectors // 2,)
            flip_bit(bench.ground, corrupted[0])
        elif action is Action.DELAY:
            time.sleep(_DELAY)
        elif action is Action.RESET:
            bench.reset_controller(_RESET_HOLD + self._hang)
        elif action is Action.UNPLUG:
            bench.unplug()
            time.sleep(_UNPLUG_HOLD)
        else:
            return corrupted
        bench.run.emit("stepper", "inject", action=str(action))
        return corrupted

    def _end_guest(self) -> Told:
        """Run the copy up to the point, kill QEMU there, and leave the medium that survives."""
        bench = self._bench
        base = bench.snapshot() if self._action.cuts_power else None
        told = Told()
        if self._point.stage in (Stage.COMPLETED, Stage.FLUSHED):
            told = self._complete()
        else:
            try:
                self._hold()
            except NotReached:
                told = Told(bench.completed(self._hang), reached=False)
        bench.guest.machine.kill()
        bench.run.emit("stepper", str(self._action), point=str(self._point))
        entries = bench.writes()
        if base:
            survivors = self._plant.survivors(self._survivors(entries))
            writelog.replay(bench.write_log, list(survivors), base)
            base.replace(bench.medium)
            size = sum(entry.length for entry in survivors)
            bench.run.emit("crash", "rebuilt", entries=len(survivors), bytes=size)
        return replace(told, entries=tuple(entries))

    def _complete(self) -> Told:
        """Let the copy run to its end undisturbed, and flush if the point says so."""
        self._start()
        start = time.monotonic()
        completion = self._bench.completed(self._hang)
        if completion is None:
            return Told()
        waited = time.monotonic() - start
        flush = self._point.stage is Stage.FLUSHED and completion.succeeded
        if flush:
            self._bench.flush()
        return Told(completion, waited, flushed=flush)

    def _survivors(self, entries: list[Entry]) -> Sequence[Entry]:
        """The logged writes that outlive the power, whole blocks in the order of the log.

        How much of the cache a prefix keeps is drawn from the case itself, so that the same case
        keeps the same.
        """
        if self._action is Action.POWER_CUT_KEPT:
            return entries
        kept = writelog.durable(entries)
        if self._action is Action.POWER_CUT:
            return kept
        cached = entries[len(kept) :]
        block = self._copy.unit * SECTOR
        blocks = sum(entry.length for entry in cached) // block
        drawn = Random(f"{self._point} {self._copy}").randint(0, blocks)
        return kept + writelog.prefix(cached, drawn * block)
