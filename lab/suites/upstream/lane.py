# SPDX-License-Identifier: GPL-2.0-or-later
"""A lane: one guest that works through cases, whatever they do to it."""

import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from lab.errors import GuestError, LabError
from lab.guest.boot import Progress
from lab.guest.guest import Guest
from lab.guest.kmsg import fatal
from lab.guest.relay import CommandEnd, CommandOutput, KernelMessages, Relay, RelayGone
from lab.guest.session import Session
from lab.results.cases import CaseStatus
from lab.results.coverage import Circumstance
from lab.suites.guest import GuestLost, RunGuest
from lab.suites.ledger import Ledger
from lab.suites.upstream.driver import SERIAL, TREE, Batch, External
from lab.suites.upstream.reader import CaseStart
from lab.suites.upstream.sitting import Excuse, FileRequest, Sitting, no_excuse
from lab.suites.upstream.watchdog import Watchdog

_POLL = 0.25
_RECOVERY = ".recovery"
"""Ends the name of what follows a case."""


class CaseFaults(Protocol):
    """What is done to one guest while a suite's cases run there."""

    @property
    def recovery(self) -> External:
        """The suite of the cases that follow each."""

    def made(self, guest: Guest, session: Session) -> AbstractContextManager[None]:
        """Make the faults in the body, from begin() on.  Raises GuestError."""

    def begin(self) -> None:
        """The case has begun.  Raises GuestError."""

    def excuse(self, session: Session, *, recovery: bool) -> Excuse:
        """What a failure is put down to, of a case or of what follows it."""


class EarlyEnd(Exception):
    """The run is to end early: another lane failed, or the user has had enough."""


@dataclass
class Lane:
    """One guest, and what it tells."""

    own: RunGuest
    suite: External
    ledger: Ledger
    watchdog: Watchdog
    progress: Progress
    stop: threading.Event
    faulted: CaseFaults | None = None
    """What is done to it meanwhile, one case at a time."""

    def work(self, batches: Iterable[Batch]) -> None:
        """Carry out all cases.  What goes wrong in one is its result; what is the lab's own
        failure is raised (GuestError, HostError), as is EarlyEnd."""
        for batch in batches:
            if self.faulted is None:
                self._carry_out(self.suite, batch)
                continue
            for name in batch.names:
                self._carry_out(self.suite, replace(batch, names=(name,)))
                after = replace(batch, names=(name + _RECOVERY,))
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
                self.own.run.emit("suite", "gave up", left=len(left), said=sitting.tail())
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
        relay = self._relay()
        with self._faults(suite):
            try:
                self.own.run.emit("suite", "start", argv=list(command.argv))
                relay.run(command.argv, cwd=command.cwd, env=command.env)
                while not (sitting.exited and sitting.settled):
                    if self.stop.is_set():
                        raise EarlyEnd
                    sitting.check_time()
                    self._take_one(suite, relay, sitting)
            except RelayGone as gone:
                raise self.own.gone(gone) from gone

    def _faults(self, suite: External) -> AbstractContextManager[None]:
        """The faults that are made while a command of the suite runs."""
        if self.faulted is None or suite is not self.suite:
            return nullcontext()
        return self.faulted.made(self.own.guest, self.session())

    def _excuse(self, suite: External) -> Excuse:
        """What a failure is put down to."""
        if self.faulted is None:
            return no_excuse
        return self.faulted.excuse(self.session(), recovery=suite is not self.suite)

    def _take_one(self, suite: External, relay: Relay, sitting: Sitting) -> None:
        event = relay.event(_POLL)
        match event:
            case KernelMessages() as kernel:
                messages = self.own.note(kernel)
                sitting.hear(messages)
                if trouble := next((text for text in messages if fatal(text)), ""):
                    raise GuestLost(CaseStatus.CRASHED, trouble, tuple(self.own.aftermath()))
            case CommandOutput(text):
                for step in sitting.read(text):
                    self._follow(suite, relay, sitting, step)
            case CommandEnd(status):
                self.own.run.emit("suite", "exit", status=status)
                for step in sitting.end(status):
                    self._follow(suite, relay, sitting, step)
                self.own.works_for("", Circumstance.OUTSIDE)
            case None:
                pass
            case other:
                sitting.file(other)

    def _follow(
        self, suite: External, relay: Relay, sitting: Sitting, step: CaseStart | FileRequest
    ) -> None:
        """Do what the suite's words ask for."""
        if isinstance(step, CaseStart):
            self.own.run.emit("suite", "began", case=step.name, section=sitting.batch.section)
            self.ledger.begin(sitting.batch.section, step.name)
            faulted = self.faulted is not None and suite is self.suite
            self.own.works_for(sitting.title, Circumstance.FAULT if faulted else Circumstance.PLAIN)
            if self.faulted:
                self.faulted.begin()
        else:
            relay.read(step.tag, list(step.paths))

    def _bury(self, sitting: Sitting, lost: GuestLost) -> None:
        """Give the case that ran its result, with all that the dead can still tell."""
        if lost.status is CaseStatus.HUNG and self.own.panic():
            lost = self.own.overdue(lost.reason)
        sitting.hear(lost.messages)
        run = self.own.run
        run.emit("suite", "lost", case=sitting.case, status=lost.status, reason=lost.reason)
        if not sitting.case:
            raise GuestError(
                f"the guest was lost while no case ran: {lost.reason}", detail=sitting.tail()
            )
        self.progress(f"{sitting.case} {lost.status}: collecting what can be told")
        with suppress(LabError):
            self._fetch(sitting)
        sitting.bury(lost, self.own.last_words(lost, sitting.title))
        self.own.lose()

    def _fetch(self, sitting: Sitting) -> None:
        """What the case has written so far, if the guest can still send it."""
        if not self.own.guest.machine.alive():
            return
        relay = self.own.listen()
        wanted = sitting.so_far()
        relay.read(wanted.tag, list(wanted.paths))
        end = time.monotonic() + self.own.speed.last_words
        while not sitting.settled and time.monotonic() < end:
            event = relay.event(_POLL)
            if event is not None and not isinstance(
                event, CommandOutput | KernelMessages | CommandEnd
            ):
                sitting.file(event)

    def _prepare(self, suite: External, batch: Batch) -> None:
        session = self.session()
        self.progress(f"{batch.section or 'suite'}: prepare")
        suite.prepare(session, batch.section)

    def _relay(self) -> Relay:
        """The relay of this boot, with the tree in place."""
        fresh = not self.own.listening
        relay = self.own.listen()
        if fresh:
            self.own.connect().run(["mount-tree", SERIAL, TREE], deadline=self.own.speed.patience)
        return relay

    def session(self) -> Session:
        """A connection to the guest, made ready for the suite."""
        self._relay()
        return self.own.connect()
