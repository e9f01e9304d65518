# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest of a run: booted for it, lost to a case, booted again, and heard out before it goes."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

from lab.artifacts.kernels.names import counted
from lab.coverage.collection import Collection
from lab.errors import GuestError, LabError, UsageError
from lab.faults.byhand import require_free
from lab.guest import guests, stack, sysrq
from lab.guest.boot import Platform, Progress
from lab.guest.guest import Guest
from lab.guest.kernel_words import Heard, KernelWords
from lab.guest.kmsg import fatal
from lab.guest.lastwords import DEATH, console, hear_out, panic
from lab.guest.relay import KernelMessages, Relay, RelayGone
from lab.guest.session import Session
from lab.guest.spare import Spare
from lab.guest.speed import Speed
from lab.host import settings
from lab.host.process import me
from lab.inside import evidence
from lab.inside.panicked import PanicWatch
from lab.profile.models import Profile
from lab.results.cases import CaseStatus
from lab.results.coverage import Circumstance
from lab.results.run import Run
from lab.suites.outcome import Outcome
from lab.vm.argv import CONSOLE_LOG
from lab.vm.ending import STDERR

_AFTERMATH = 2.0
"""Seconds without a word after which a trace of a kernel that goes on is complete."""
_AFTERMATH_AT_MOST = 15.0
_AT_ONCE = 0.001
_ANSWER_DEADLINE = 10.0
_DUMP_DEADLINE = 90.0
_COUNTS_DEADLINE = 60.0
"""Seconds in which a guest must tell its counts, which takes less than one; it may hang."""


class GuestLost(Exception):
    """The guest is of no use any more, through the case that ran; `messages` are the kernel's that
    nobody has heard before."""

    def __init__(self, status: CaseStatus, reason: str, messages: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.messages = messages


def attached(name: str, profile: Profile, suite: str, hint: str) -> Guest:
    """The running guest of that name.

    Raises UsageError unless it is of the profile, as the suite boots it, and holds nothing; `hint`
    says how one is had.
    """
    guest = guests.attach(name)
    if not guest.record.is_of(profile):
        raise UsageError(
            f"guest {name}, of {guest.record.profile.name}, is of another profile than "
            f"{profile.name} as {suite} boots it",
            hint=hint,
        )
    require_free(guest)
    return guest


class RunGuest:
    """The guest of a run, in a `with` block.

    It is booted for the run and goes with it, unless it was up before (`on`) or is to be kept.
    What each boot leaves on the host is kept as evidence, whatever happens.  `number`: which of
    several it is; `speed`: what was measured in another of them.
    """

    def __init__(
        self,
        run: Run,
        profile: Profile,
        platform: Platform,
        progress: Progress,
        *,
        on: Guest | None = None,
        number: int = 1,
        speed: Speed | None = None,
    ) -> None:
        self.run = run
        self.words = KernelWords(run)
        """What writes down what the guest's kernel says."""
        self.speed = speed or Speed()
        self._platform = platform
        self._progress = progress
        self._on = on
        self._kept = False
        self._lost = False
        self._reset = False
        self._dumps = settings.load().dumps
        self._watch: PanicWatch | None = None
        self._session: Session | None = None
        self._relay: Relay | None = None
        self._spares: deque[Spare] = deque()
        self._numbers = count(1)
        self._counts = Collection(run, number) if counted(profile.kernel) else None
        name = f"run-{run.id}" + (f"-{number}" if number > 1 else "")
        self.guest = on or guests.start(
            name, profile, progress, owner=me(), platform=platform, on_event=self._hear
        )
        if on:
            on.machine.hear(self._hear)
            return
        self._begin_watch()
        for each in filter(None, (self.guest.peer, self.guest)):
            self._note_beginning(each)

    def __enter__(self) -> "RunGuest":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        died = None
        try:
            if isinstance(error, LabError) and not self._lost:
                self.hear_panic()
                if self._watch:
                    self._watch.wait()
                if not self.guest.machine.alive():
                    # Whatever broke first, this is what the user must know.
                    died = self.guest.machine.died()
            if self._counts and self._session and error is None:
                self._counts.take(self._session, _COUNTS_DEADLINE)
            self._disconnect()
            if not self._lost:
                self._keep_evidence()
            self.words.end()
        finally:
            # Also where there is no room for the evidence.
            self._let_go()
        if died and str(died) != str(error):
            raise died from error

    def _let_go(self) -> None:
        while self._spares:
            self._spares.pop().close()
        if self._on:
            self.guest.machine.close()
        elif self._kept:
            if self._watch:
                self._watch.unwatch()
                self._watch.forget()
            self.guest.release()
        else:
            self._forget_memory()
            self.guest.down()

    def _forget_memory(self) -> None:
        """What nobody kept of a panic is gone; whatever comes now is meant."""
        if self._watch:
            self._watch.mean()
            self._watch.forget()

    def keep(self) -> str:
        """Let the guest outlive the run; its name."""
        self._kept = True
        return self.guest.record.name

    def describe(self, outcome: Outcome) -> None:
        """Tell what the guest's kernel offers, and how long it took to boot, if it did so for this
        run."""
        found = stack.found(self.guest.directory)
        outcome.capabilities = stack.table(found, self.guest.record.missing)
        outcome.boot = self.guest.boot_seconds

    def connect(self) -> Session:
        """The connection of this boot; a guest that was lost begins again for it, on its media."""
        if self._session is None:
            if self._lost:
                self._boot_again()
            self._session = self.guest.connect()
        return self._session

    def _boot_again(self) -> None:
        start = time.monotonic()
        self._progress = self._note
        self._reset = False
        spare = self._spares.popleft() if self._spares else None
        try:
            spared = self.guest.reboot(self._platform, self._progress, self._hear, spare)
        finally:
            if spare:
                if spare.problem:
                    self._note(f"there was no spare: {spare.problem}")
                spare.close()
        self._lost = False
        self._begin_watch()
        self._note_beginning(self.guest, "spare" if spared else "checkpoint")
        # A run that has lost its guest once will again, as likely as not.
        wanted = self.guest.record.profile.guest.spares
        while len(self._spares) < wanted and self.guest.record.cold is None:
            self._spares.append(Spare(self.guest.record, self._platform, next(self._numbers)))
        self.run.emit("lab", "reboot", seconds=round(time.monotonic() - start, 3))

    def _begin_watch(self) -> None:
        # Whoever hears QEMU's events knows it before there is any.
        self._watch = PanicWatch(self.run, self.guest, self._dumps)
        if not self._watch.begin():
            self._watch = None

    def _note_beginning(self, guest: Guest, way: str = "checkpoint") -> None:
        """Count how a guest has begun: in that way, unless it was booted."""
        why = guest.record.cold
        self.run.began(guest.record.name, way if why is None else "cold", why or "")

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        """QEMU tells of something."""
        if event == "SHUTDOWN":
            self._reset = True
            # Who else ends QEMU does so himself.
            if self._watch and data.get("guest"):
                self._watch.stopped()
        self.run.qmp_event(event, data)

    def _note(self, text: str) -> None:
        self.run.emit("lab", "progress", text=text)

    def bring_up(self) -> None:
        """Wait until all disks and layers are there.  Raises GuestError."""
        if stack.found(self.guest.directory) and not self.guest.record.profile.layers:
            # Without layers a guest that boots again looks at nothing.
            self.guest.await_ready()
        else:
            for part in self.guest.bring_up(self._progress):
                said = part.why()
                self.run.emit("guest", part.event, name=part.name, status=part.status, said=said)
        if self._counts:
            self._counts.begin(self.connect(), _COUNTS_DEADLINE)

    def works_for(self, case: str, circumstance: Circumstance) -> None:
        """From now on what the kernel executes is of a case, by its number or title, or of none
        (''), and so is what it says.  Where it counts nothing, that is all."""
        self.words.of(case)
        if self._counts:
            if self._session:
                self._counts.take(self._session, _COUNTS_DEADLINE)
            self._counts.work_for(case, circumstance)

    def about_to_end(self) -> None:
        """It is about to be ended on purpose: take what the kernel has counted, and leave its
        memory alone."""
        if self._watch:
            self._watch.mean()
        if self._counts and self._session and self.guest.machine.alive():
            self._counts.end(self._session, _COUNTS_DEADLINE)

    def end(self) -> None:
        """Kill the guest on purpose."""
        self.about_to_end()
        self.guest.machine.kill()

    def listen(self) -> Relay:
        """The relay of this boot, with the layers up; the first that is started measures how slow
        the guest is, by which the kernel's own watchdogs are stretched."""
        if self._relay is None:
            session = self.connect()
            self.bring_up()
            self._relay = Relay(session, measure=not self.speed.measured)
            self.speed.measure(self._relay.speed)
            self.run.emit("guest", "speed", slower=self.speed.slower)
            session.run(["sysctl", "-q", "-w", *self.speed.sysctls()], deadline=self.speed.patience)
        return self._relay

    @property
    def listening(self) -> bool:
        """Whether this boot has its relay already."""
        return self._relay is not None

    def heard(self, wait: float = _AT_ONCE) -> Iterator[str]:
        """What the kernel has logged since the last time, until nothing comes for `wait` seconds.
        Raises RelayGone when the guest ends."""
        end = time.monotonic() + _AFTERMATH_AT_MOST
        while self._relay and (event := self._relay.event(wait)) and time.monotonic() < end:
            if isinstance(event, KernelMessages):
                yield from self.note(event)

    def note(self, event: KernelMessages) -> list[str]:
        """Messages of the kernel, written into the timeline as far as that has room for them."""
        return [self.words.write(text, since_boot=at) for at, text in event.messages]

    def aftermath(self) -> list[str]:
        """What the kernel logs after its first word of trouble; its console is heard out too."""
        messages = Heard()
        with suppress(RelayGone):
            messages += self.heard(_AFTERMATH)
        hear_out(self.guest.machine, _AFTERMATH)
        return list(messages)

    def panic(self) -> str:
        """What this boot's kernel said when it panicked; '' if it did not."""
        return panic(console(self.guest.machine))

    def hear_panic(self) -> None:
        """Let a guest that panics say all that it has to.  It resets itself then, which ends QEMU,
        unless a request is held."""
        if self.panic():
            hear_out(self.guest.machine, DEATH, lambda: self._reset)

    def gone(self, error: LabError) -> GuestLost:
        """Why the guest does not answer, which was noticed by `error`: its kernel panicked, or
        failed whoever should answer.  Raises LabError where it is not to blame."""
        messages = Heard()
        with suppress(RelayGone):
            messages += self.heard()
        trouble = next((text for text in messages if fatal(text)), "")
        if trouble:
            messages += self.aftermath()
        elif not self.panic() and self._answers():
            raise error
        else:
            hear_out(self.guest.machine, DEATH)
        if reason := trouble or self.panic():
            return GuestLost(CaseStatus.CRASHED, reason, tuple(messages))
        if not self.guest.machine.alive():
            raise self.guest.machine.died() from error
        raise GuestError(
            f"the guest is still up, and does not answer: {error.message}", detail=error.detail
        ) from error

    def overdue(self, reason: str) -> GuestLost:
        """Why there is no answer within a deadline: the guest hangs, unless it is about to die of a
        panic."""
        messages = Heard()
        with suppress(RelayGone):
            messages += self.heard()
        self.hear_panic()
        died = self.panic()
        status = CaseStatus.CRASHED if died else CaseStatus.HUNG
        return GuestLost(status, died or reason, tuple(messages))

    def _answers(self) -> bool:
        try:
            return (
                self._session is not None
                and not self._session.run(["true"], deadline=_ANSWER_DEADLINE, check=False).status
            )
        except GuestError:
            return False

    def last_words(self, lost: GuestLost, case: str) -> str:
        """What a guest that was lost to a case has said on its console when it panicked, or says
        there of what its tasks wait for; '' where there is nothing.  Its memory is kept before."""
        self.dump(case, lost.reason)
        if self.panic():
            return console(self.guest.machine)
        if lost.status is CaseStatus.HUNG and self.guest.machine.alive():
            with suppress(LabError):
                return sysrq.tasks(self.guest.machine, _DUMP_DEADLINE)
        return ""

    def dump(self, case: str, why: str) -> None:
        """Keep the guest's memory among the evidence, before it is ended, as the settings allow."""
        evidence.keep(self.run, self.guest, case, why, self._watch)

    def lose(self) -> None:
        """End a boot, dead or alive, which is of no use any more; the guest is booted again when
        it is needed."""
        self.about_to_end()
        if self._counts:
            self._counts.lose("its guest was gone")
            self._counts.forget()
        self._forget_memory()
        self._disconnect()
        self.guest.machine.kill()
        if not self._lost:
            self._keep_evidence()
        self._lost = True

    def _disconnect(self) -> None:
        if self._session:
            self._session.close()
        self._session = self._relay = None

    def _keep_evidence(self) -> None:
        for name in (CONSOLE_LOG, STDERR):
            self.run.keep(self.guest.directory / name, name)
