"""A lane: one guest that works through cases, whatever they do to it."""

import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace

from lab.errors import GuestError, LabError
from lab.guest import stack, sysrq
from lab.guest.boot import Platform, Progress
from lab.guest.guest import Guest
from lab.guest.kmsg import fatal
from lab.guest.relay import Exited, Kernel, Relay, RelayGone, Said
from lab.guest.ssh import Session
from lab.results.cases import Status
from lab.results.run import Run
from lab.suites.fstests.faults.making import Faulted
from lab.suites.fstests.faults.recovery import SUFFIX
from lab.suites.ledger import Ledger
from lab.suites.upstream.driver import SERIAL, TREE, Batch, External
from lab.suites.upstream.reader import Began
from lab.suites.upstream.sitting import Excuse, GuestLost, Sitting, Wanted, no_excuse
from lab.suites.upstream.watchdog import Watchdog
from lab.vm.argv import CONSOLE_LOG
from lab.vm.machine import STDERR

_POLL = 0.25
_AFTERMATH = 2.0
"""Seconds without a message after which a trace of the kernel is complete."""
_AFTERMATH_AT_MOST = 15.0
_DEATH = 30.0
"""Seconds within which a QEMU whose guest panicked ends: the trace goes out over a slow port."""
_PANIC = "Kernel panic - not syncing"
_DUMP_DEADLINE = 90.0


class Stopped(Exception):
    """The run is to end early: another lane failed, or the user has had enough."""


@dataclass
class Lane:
    """One guest, and what it tells."""

    run: Run
    guest: Guest
    platform: Platform
    suite: External
    ledger: Ledger
    watchdog: Watchdog
    progress: Progress
    stop: threading.Event
    doomed: bool = True
    """The guest goes with the lane."""
    faulted: Faulted | None = None
    """What is done to it meanwhile, one case at a time."""

    def __post_init__(self) -> None:
        self._session: Session | None = None
        self._relay: Relay | None = None
        self._lost = False

    def work(self, batches: Iterable[Batch]) -> None:
        """Carry out all cases.  What goes wrong in one is its result; what is the lab's own
        failure is raised (GuestError, HostError), as is Stopped."""
        for batch in batches:
            if self.faulted is None:
                self._carry_out(self.suite, batch)
                continue
            for name in batch.names:
                self._carry_out(self.suite, replace(batch, names=(name,)))
                after = replace(batch, names=(name + SUFFIX,))
                self._carry_out(self.faulted.recovery, after)

    def _carry_out(self, suite: External, batch: Batch) -> None:
        self._prepare(suite, batch)
        left = list(batch.names)
        while left:
            self._go_on(suite, batch, left)

    def _go_on(self, suite: External, batch: Batch, left: list[str]) -> None:
        """Start the suite on the cases that are left, and take those from the list that have a
        result when it ends, or when the guest is lost to one of them."""
        before = len(left)
        sitting = Sitting(suite, batch, left, self.ledger, self.watchdog, self._excuse(suite))
        try:
            self._sit(suite, sitting)
        except GuestLost as lost:
            self._bury(sitting, lost)
        else:
            if left:
                self.run.emit("suite", "gave up", left=len(left), said=sitting.tail())
        if left and len(left) < before:
            # In the guest booted again, or where something made the suite give up: on a fresh file
            # system it can go on.
            self._prepare(suite, batch)
        if len(left) == before:
            raise GuestError(
                f"the suite ended before it had a result for {left[0]}",
                detail=sitting.tail(),
                hint="what it said is above",
            )

    def _sit(self, suite: External, sitting: Sitting) -> None:
        """Have the suite's command run to its end."""
        command = suite.command(sitting.batch.section, sitting.left)
        relay = self._connected()
        with self._faults(suite):
            try:
                self.run.emit("suite", "start", argv=list(command.argv))
                relay.run(command.argv, cwd=command.cwd, env=command.env)
                while not (sitting.exited and sitting.settled):
                    if self.stop.is_set():
                        raise Stopped
                    sitting.check_time()
                    self._take_one(relay, sitting)
            except RelayGone as gone:
                self._explain(gone, sitting)

    def _faults(self, suite: External) -> AbstractContextManager[None]:
        """The faults that are made while a command of the suite runs."""
        if self.faulted is None or suite is not self.suite:
            return nullcontext()
        return self.faulted.made(self.guest, self.session())

    def _excuse(self, suite: External) -> Excuse:
        """What a failure is put down to."""
        if self.faulted is None:
            return no_excuse
        return self.faulted.excuse(self.session(), recovery=suite is not self.suite)

    def _take_one(self, relay: Relay, sitting: Sitting) -> None:
        event = relay.event(_POLL)
        match event:
            case Kernel(messages):
                for at, text in messages:
                    self.run.emit("kernel", "message", since_boot=at, text=text)
                    sitting.hear(text)
                if trouble := next((text for _, text in messages if fatal(text)), ""):
                    self._await_trace(relay, sitting)
                    raise GuestLost(Status.CRASHED, trouble)
            case Said(text):
                for step in sitting.read(text):
                    self._follow(relay, sitting, step)
            case Exited(status):
                self.run.emit("suite", "exit", status=status)
                for step in sitting.end(status):
                    self._follow(relay, sitting, step)
            case None:
                pass
            case other:
                sitting.file(other)

    def _follow(self, relay: Relay, sitting: Sitting, step: Began | Wanted) -> None:
        """Do what the suite's words ask for."""
        if isinstance(step, Began):
            self.run.emit("suite", "began", case=step.name, section=sitting.batch.section)
            self.ledger.begin(sitting.batch.section, step.name)
            if self.faulted:
                self.faulted.begin()
        else:
            relay.read(step.tag, list(step.paths))

    def _await_trace(self, relay: Relay, sitting: Sitting) -> None:
        """Hear what the kernel has to say after its first word of trouble."""
        end = time.monotonic() + _AFTERMATH_AT_MOST
        with suppress(RelayGone):
            while time.monotonic() < end:
                event = relay.event(_AFTERMATH)
                if event is None:
                    return
                if isinstance(event, Kernel):
                    for at, text in event.messages:
                        self.run.emit("kernel", "message", since_boot=at, text=text)
                        sitting.hear(text)

    def _explain(self, gone: RelayGone, sitting: Sitting) -> None:
        """Why the guest does not answer: raises GuestLost if it panicked, LabError otherwise."""
        machine = self.guest.machine
        end = time.monotonic() + _DEATH
        while machine.alive() and time.monotonic() < end:
            time.sleep(0.05)
        if machine.alive():
            raise GuestError(
                f"the connection to the guest broke, and it is still up: {gone.message}",
                detail=gone.detail,
            ) from gone
        for line in self._console().splitlines():
            if _PANIC in line:
                sitting.console = self._console()
                raise GuestLost(Status.CRASHED, line[line.index(_PANIC) :].strip()) from gone
        raise machine.died() from gone

    def _bury(self, sitting: Sitting, lost: GuestLost) -> None:
        """Give the case that ran its result, with all that the dead can still tell."""
        self.run.emit("suite", "lost", case=sitting.case, status=lost.status, reason=lost.reason)
        if not sitting.case:
            raise GuestError(
                f"the guest was lost while no case ran: {lost.reason}", detail=sitting.tail()
            )
        self.progress(f"{sitting.case} {lost.status}: collecting what can be told")
        with suppress(LabError):
            self._fetch(sitting)
        if self.guest.machine.alive() and lost.status is Status.HUNG:
            with suppress(LabError):
                sitting.console = sysrq.tasks(self.guest.machine, _DUMP_DEADLINE)
        sitting.bury(lost)
        self._end_boot()

    def _fetch(self, sitting: Sitting) -> None:
        """What the case has written so far, if the guest can still send it."""
        if self._relay is None or not self.guest.machine.alive():
            return
        wanted = sitting.so_far()
        self._relay.read(wanted.tag, list(wanted.paths))
        end = time.monotonic() + self.watchdog.last_words
        while not sitting.settled and time.monotonic() < end:
            event = self._relay.event(_POLL)
            if event is not None and not isinstance(event, Said | Kernel | Exited):
                sitting.file(event)

    def _end_boot(self) -> None:
        """End a guest that is of no use; it is booted again when it is needed."""
        self.disconnect()
        self.guest.machine.kill()
        self.keep_evidence()
        self._lost = True

    def _reboot(self) -> None:
        """Boot the guest again, on its media."""
        start = time.monotonic()
        self.guest.reboot(self.platform, self.progress, self.run.qmp_event)
        self._lost = False
        self.run.emit("lab", "reboot", seconds=round(time.monotonic() - start, 3))

    def _prepare(self, suite: External, batch: Batch) -> None:
        self._connected()
        assert self._session is not None
        self.progress(f"{batch.section or 'suite'}: prepare")
        suite.prepare(self._session, batch.section)

    def _connected(self) -> Relay:
        """The relay of this boot, with the layers up and the tree in place."""
        if self._relay:
            return self._relay
        if self._lost:
            self._reboot()
        self._session = self.guest.connect()
        self._bring_up(self._session)
        self._session.run(["mount-tree", SERIAL, TREE], deadline=self.watchdog.patience)
        self._relay = Relay(self._session, measure=not self.watchdog.measured)
        self.watchdog.measure(self._relay.speed)
        self.run.emit("guest", "speed", slower=self.watchdog.speed)
        self._session.run(
            ["sysctl", "-q", "-w", *self.watchdog.sysctls()],
            deadline=self.watchdog.patience,
        )
        return self._relay

    def _bring_up(self, session: Session) -> None:
        if stack.found(self.guest.directory) and not self.guest.record.profile.layers:
            # Without layers a guest that boots again looks at nothing; links are wanted here.
            self.guest.await_ready()
            session.run(["layers", "up"], deadline=self.watchdog.patience)
            return
        for part in self.guest.bring_up(self.progress):
            self.run.emit("guest", part.event, name=part.name, status=part.status, said=part.why())

    def session(self) -> Session:
        """An SSH connection to the guest, made ready for the suite."""
        self._connected()
        assert self._session is not None
        return self._session

    def disconnect(self) -> None:
        """Let go of the guest, dead or alive."""
        if self._session:
            self._session.close()
        self._session = self._relay = None

    def keep_evidence(self) -> None:
        """Copy what the boot left on the host into the run's directory, once for each boot."""
        if self._lost:
            return
        for name in (CONSOLE_LOG, STDERR):
            self.run.keep(self.guest.directory / name, name)

    def _console(self) -> str:
        path = self.guest.directory / CONSOLE_LOG
        return path.read_text(errors="replace").replace("\r\n", "\n")
