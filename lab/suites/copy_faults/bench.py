# SPDX-License-Identifier: GPL-2.0-or-later
"""The bench: a guest with its executor, one offload path, what observes both, and the oracle."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.copy.answers import StatusAnswer, checked
from lab.copy.ground import Ground
from lab.copy.model import Completion, Copy
from lab.copy.paths.base import CopyPath, Logs
from lab.copy.paths.instrument import Subject
from lab.copy.paths.traced import TRACE_EVENTS
from lab.errors import GuestError, LabError
from lab.faults.actions import Action
from lab.faults.model import Stage
from lab.faults.stepper import Bystanding, Fault, Stepper
from lab.guest import retries, stack
from lab.guest.executor import Executor
from lab.guest.guest import Guest
from lab.guest.kmsg import complaints
from lab.guest.meanwhile import Meanwhile
from lab.guest.media import create_media
from lab.host.patience import Patience
from lab.results.coverage import Circumstance
from lab.suites.copy_faults import fua
from lab.suites.copy_faults.failures import DeviceFailure
from lab.suites.copy_faults.inquest import Inquest
from lab.suites.copy_faults.oracle import Oracle
from lab.suites.copy_faults.taps import Taps
from lab.suites.guest import RunGuest
from lab.vm.argv import TRACE_LOG
from lab.vm.graph import Drive
from lab.vm.machine import ARGV, PLUGGED

_ANSWER_DEADLINE = 60.0
_MEND_DEADLINE = 180.0
_CLOSE_DEADLINE = 30.0


class Bench:
    """Everything a case needs, in a guest that some of them end; `close` it at the end."""

    def __init__(self, own: RunGuest, path: CopyPath) -> None:
        self.run = own.run
        self.path = path
        self.instrument = path.on(Subject(self.ask, own.guest.directory / path.drive.medium))
        """The path in this guest."""
        self.oracle = Oracle(own.run, own.guest, self.instrument)
        """What tags the ground of each copy, and reads it afterwards."""
        self.answered: dict[str, Any] | None = None
        """The executor's answer to the last copy; None if none came."""
        self.case = ""
        """The number of the case that is carried out."""
        self.lacking: dict[Action, str] = {}
        """Actions that this guest's kernel has not what they need for, with what it said."""
        self.broken = False
        """A rule was violated in some case already."""
        self.refused = False
        """The last case was a copy that failed for its caller."""
        self.overheard: list[str] = []
        """What the kernel complained of while no case observed it; the next one tells."""
        self.struck = True
        """The last case came to what was to be done to it, or did not live to tell."""
        self.gone = False
        """No guest comes up any more, not even on fresh media."""
        self._own = own
        self._taps: Taps | None = None
        self._executor: Executor | None = None
        self._blind: str | None = None
        self._connect()

    @property
    def patience(self) -> float:
        """Seconds for a copy to come to a point: it takes milliseconds, but what is to carry it out
        may first wait for others who have the disk (guest-scripts/copies/quiet.py)."""
        return self._own.speed.patience

    @property
    def guest(self) -> Guest:
        """The guest."""
        return self._own.guest

    @property
    def drive(self) -> Drive:
        """The disk at the bottom of the path."""
        return self.path.drive

    @property
    def ground(self) -> Ground:
        """Where the oracle writes and reads."""
        return self.instrument.ground

    @property
    def medium(self) -> Path:
        """The medium's file on the host."""
        return self.guest.directory / self.drive.medium

    @property
    def write_log(self) -> Path:
        """The write log's file on the host."""
        return self.guest.directory / self.drive.write_log

    @property
    def executor(self) -> Executor:
        """The executor in the guest."""
        assert self._executor is not None
        return self._executor

    @property
    def taps(self) -> Taps:
        """What observes the guest and its device."""
        assert self._taps is not None
        return self._taps

    def _connect(self) -> None:
        """Start the executor and the taps in a guest that was just booted, or was up."""
        self.inquest = Inquest(self.run, self.guest.machine, self.dump)
        with self.inquest.guest_may_fail():
            session = self._own.connect()
            self.guest.machine.trace(TRACE_EVENTS)
            self._executor = Executor(session)
            self._own.bring_up()
            # What it probes because of that would be taken for a copy's.
            self.ask(op="quiet.settled")
        # A fault that strikes once would be nothing to whoever does not use passthrough.
        retries.let_errors_through(session)
        directory = self.guest.directory
        learnt = self.instrument.learn()
        if learnt:
            self.run.emit("lab", "learnt", text=learnt)
        others = [directory / drive.write_log for drive in self.path.others]
        self._taps = Taps(
            self.run, directory / TRACE_LOG, self.write_log, self.ask, others, self._own.words
        )  # fmt: skip
        self._taps.open()

    def works_for(self, circumstance: Circumstance) -> None:
        """From now on what the kernel executes is of the case, or of none."""
        case = "" if circumstance is Circumstance.OUTSIDE else self.case
        self._own.works_for(case, circumstance)

    def about_to_end(self) -> None:
        """The case ends the guest: take what its kernel has counted before."""
        self._own.about_to_end()

    def end(self) -> None:
        """Kill the guest on purpose."""
        self._own.end()

    def reboot(self) -> None:
        """Boot the killed guest again on its media; the boot that ended is kept as evidence."""
        self._executor = None
        self._own.lose()
        self._keep_evidence()
        self._connect()

    def _keep_evidence(self) -> None:
        """Copy what the boot left beside its console into the run's directory: argv, what was
        plugged, write log."""
        directory = self.guest.directory
        for name in (ARGV, PLUGGED):
            with suppress(OSError):
                self.run.write(name, (directory / name).read_text())
        number = len(list(self.run.directory.glob("write-log-*")))
        self.run.keep(self.write_log, f"write-log-{number:03}", move=not self.guest.machine.alive())

    def ask(self, **request: object) -> dict[str, Any]:
        """Ask the executor for anything but a copy.  Raises GuestError."""
        return self.executor.request(_ANSWER_DEADLINE, **request)

    def renew(self) -> None:
        """Boot the guest again on fresh media: nothing on them could be used any more."""
        self.end()
        stack.forget(self.guest.directory)
        create_media(self.guest.directory, self.guest.record.profile)
        self.reboot()

    def renew_if_possible(self) -> None:
        """The same, after which the guest is up unless all is over, which `gone` says then."""
        try:
            self.renew()
        except DeviceFailure as failure:
            self.gone = True
            self.run.emit("lab", "gone", text=str(failure))

    def mend(self, *, rebooted: bool) -> str:
        """Make the ground usable again; what could not be made good, or ''."""

        def ask(**request: object) -> dict[str, Any]:
            return self.executor.request(_MEND_DEADLINE, **request)

        try:
            problem = self.path.on(Subject(ask, self.medium)).mend(rebooted=rebooted)
        except GuestError as error:
            # A file system that cannot even be taken down: only a boot gets rid of it.
            self.end()
            self.reboot()
            problem = str(error)
        if problem:
            self.run.emit("lab", "not mended", text=problem)
            with suppress(LabError):
                # A new boot, which follows, would take what the kernel said of it.
                self.taps.kernel_messages()
        return problem

    def set_fault(self, fault: Fault) -> None:
        """Give the next case a fault layer of its own."""
        for drive in self.path.stepped:
            self.guest.machine.exchange_fault_layer(drive, fault.rules, fault.fragment, fault.more)

    def failed_requests(self) -> int:
        """How many requests of the path's disk have failed since its guest was booted."""
        return self.guest.machine.failed_requests(self.drive)

    def stepper(self, copy: Copy, fragment: int = 0) -> Stepper:
        """What freezes a copy; by what the device traces it lets those go that are not its.

        The parts of a request that is cut, in `fragment` bytes, are not traced: there all count.
        """

        def watch() -> Bystanding:
            since = self.taps.trace_end()

            def bystanding(stage: Stage) -> bool:
                said = self.taps.traced_since(since)
                return not fragment and self.path.is_bystander(said, copy, stage)

            return bystanding

        return Stepper(self.guest.machine, self.path.stepped, self.executor.has_answer, watch)

    def start(self, request: dict[str, object]) -> None:
        """Send the copy to the executor; does not wait."""
        self.answered = None
        self.run.emit("guest", "copy", request=request)
        self.executor.send(**request)

    def completed(self, deadline: float) -> Completion | None:
        """The end of the copy as its caller was told, or None: when it does not come in `deadline`
        seconds, or the caller was killed.  Raises DeviceFailure when it does not come and the
        kernel has said why."""
        self.answered = answer = self.executor.answer(deadline)
        if answer is None:
            self.inquest.hold(GuestError("the copy did not end"))
            return None
        self.run.emit("guest", "completion", answer=answer)
        return None if "killed" in answer else self.instrument.completion(answer)

    def sh(self, script: str, *words: str, deadline: float) -> str:
        """Run a shell script in the guest, with `words` as its arguments; what it prints.  Raises
        GuestError."""
        argv = ["sh", "-ec", script, "sh", *words]
        return self._own.connect().run(argv, deadline=deadline).stdout

    def meanwhile(self, script: str, *words: str) -> Meanwhile:
        """Start a shell script in the guest, and go on."""
        channel = self._own.connect().channel(["sh", "-ec", script, "sh", *words])
        return Meanwhile(channel, self.guest.machine.process)

    def await_panic(self, deadline: float) -> None:
        """Wait until the guest's kernel has panicked, which it must begin to in `deadline` seconds,
        and has said all of it.  Raises GuestError."""
        patience = Patience(self.guest.machine.process, deadline)
        while not self._own.panic():
            if patience.over():
                raise GuestError(f"the guest's kernel did not panic within {patience}")
            time.sleep(0.02)
        self._own.hear_panic()
        self.inquest.forget()

    def overhear(self, when: str) -> None:
        """Keep what the kernel complained of since its messages were last taken."""
        self.overheard += [f"{when}: {line}" for line in complaints(self.taps.kernel_messages())]

    def take_overheard(self) -> tuple[str, ...]:
        """What was kept of that, which is told then."""
        found, self.overheard = tuple(self.overheard), []
        return found

    def dump(self, why: str) -> None:
        """Keep the memory of a guest whose copy does not end, or whose kernel complains."""
        self._own.dump(self.case, why)

    def flush(self) -> None:
        """A Flush from the guest.  Raises GuestError if it does not succeed."""
        answer = self.ask(op="nvme.flush", serial=self.drive.serial, nsid=self.drive.nsid)
        self.run.emit("guest", "flush", answer=answer)
        if status := checked(StatusAnswer, answer).status:
            raise GuestError(f"flush failed with status {status:#x} although no fault is set")

    def blind(self) -> str:
        """Why the write log cannot tell what FUA makes durable, or ''; tried once, while nothing
        else goes on."""
        if self._blind is None:
            self._blind = (
                "" if self.drive.virtio_blk else fua.blind(self.drive, self.ask, self.taps)
            )
            self.run.emit("lab", "fua", text=self._blind or "the write log tells of FUA")
        return self._blind

    def log_to_kernel(self, message: str) -> None:
        """Have the guest's kernel log a message."""
        self.sh('echo "$1" >/dev/kmsg', message, deadline=30)

    def logs(self) -> Logs:
        """What reached the write log of each disk at the bottom since the last call, or since all
        was forgotten (Taps.forget)."""
        drives = (self.drive, *self.path.others)
        return dict(zip(drives, (self.taps.writes(), *self.taps.elsewhere()), strict=True))

    def close(self) -> None:
        """Leave the guest as it was, if it runs on, and keep the evidence."""
        with suppress(LabError):
            # Of a run that is broken off there may be a copy that must end before.
            if self._executor and self.guest.machine.alive():
                retries.restore(self._own.connect())
                self._executor.request(_CLOSE_DEADLINE, op="mend.leave")
        self._keep_evidence()
