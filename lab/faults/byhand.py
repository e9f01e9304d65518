# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults by hand: a request of a running guest, held from one command to the next.

A command ends and QEMU goes on holding, so each command begins by finding out how things are
(`_settle`): what is suspended QEMU has printed, what is set stands in fault.json, and a command
that was killed half-way is undone, or found to have come through.
"""

import errno
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lab.errors import GuestError, HostError, UsageError
from lab.faults import choice
from lab.faults.arming import Arming, forget_arming, held_in, next_number, read_arming, write_arming
from lab.faults.model import Point, Stage
from lab.faults.status import FaultStatus, disk_name
from lab.faults.stepper import EVENTS
from lab.guest import retries
from lab.guest.guest import Guest
from lab.host import lock
from lab.host.command import uninterrupted
from lab.host.process import Process
from lab.vm.graph import Drive, drives
from lab.vm.qmp import QmpTimeout
from lab.vm.start import STDOUT

_LOCK = "fault.lock"
_LOCK_DEADLINE = 20.0
_POLL = 0.01


class Hand:
    """What can be done by hand to the requests of a guest."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._machine = guest.machine
        self._drives = drives(guest.record.profile)

    def status(self) -> FaultStatus:
        """What is armed or held."""
        with self._settled() as (arming, tags):
            return self._describe(arming, tags)

    def hold(self, drive: Drive, point: Point) -> None:
        """Set a breakpoint: the k-th read or write of the disk from now on is held there.

        Raises UsageError when something is armed or held already.
        """
        if point.k == 0:
            raise UsageError(f"{point}: no request to hold", hint="read:K, write:K or written:K")
        with self._settled() as (arming, tags):
            if arming or tags:
                now = self._describe(arming, tags)
                raise UsageError(
                    f"{now.point or 'a request'} of {now.disk} is {now.state} already",
                    hint=f"lab fault {self._guest.record.name} release",
                )
            self._machine.exchange_fault_layer(drive, more=choice.options())
            new = Arming(
                qemu=self._guest.record.qemu,
                drive=drive.id,
                layer=self._machine.fault_layers(drive)[-1],
                stage=point.stage,
                k=point.k,
                passes=point.k,
                number=next_number(self._guest),
                since=time.time(),
            )
            # Before the guest is asked, so that whoever finds it will have it restored.
            write_arming(self._guest, new)
            new = new.model_copy(update={"retried": self._let_errors_through()})
            self._follow(self._set(new))

    def step(self) -> Point:
        """Release what is held, and hold at the next point of the copy, which is returned.

        Raises UsageError when nothing is held.
        """
        with self._settled() as (arming, tags):
            held = self._kept(arming, tags)
            point = held.following()
            number = next_number(self._guest)
            self._set(
                _after(
                    held, stage=point.stage, k=point.k, number=number, passes=1, passed=0, errno=0
                )
            )
            return point

    def inject(self, error: int) -> FaultStatus:
        """Choose what the request gets that is held, or will be: an errno, or 0 for nothing.

        Raises UsageError where there is none, or it can no longer fail.
        """
        with self._settled() as (arming, tags):
            if arming is None:
                raise self._nothing()
            if error and arming.stage is Stage.WRITTEN:
                raise UsageError(
                    f"{arming.point}: the write is on the medium, it can no longer fail",
                    hint="hold at write:K",
                )
            chosen = arming.model_copy(update={"errno": error})
            write_arming(self._guest, chosen)
            return self._describe(chosen, tags)

    def release(self) -> list[str]:
        """Let everything go on and leave the disks as they were; what was released, in words.

        Raises UsageError when nothing is armed or held.
        """
        with self._settled() as (arming, tags):
            if arming is None and not tags:
                raise self._nothing()
            done = []
            for tag in tags:
                drive = self._drive_of(tag)
                if arming and tag == arming.tag:
                    self._choose(arming)
                    done.append(f"{arming.point} of {disk_name(drive)}")
                else:
                    done.append(f"a request of {disk_name(drive)}")
                self._io(drive, f"resume {tag}")
            if arming and arming.tag not in tags:
                self._io(self._drive_of(arming.tag), f"remove_break {arming.tag}")
            self._machine.holding = False
            if arming:
                self._machine.exchange_fault_layer(self._drive_of(arming.tag))
            self._forget()
            return done

    def pass_by(self) -> bool:
        """If a request is suspended that comes before the wanted one, let it go on to the next.
        False when that was not the case."""
        with self._settled() as (arming, tags):
            if arming is None or arming.last or arming.tag not in tags:
                return False
            self._set(_after(arming, passed=arming.passed + 1))
            return True

    def await_held(self, deadline: float) -> bool:
        """Wait until a request is held; False when none is within `deadline` seconds."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            arming = read_arming(self._guest)
            if arming is None:
                return False
            if arming.last and arming.complete and arming.tag in held_in(self._guest):
                return True
            if not self._machine.alive():
                raise self._machine.died()
            time.sleep(_POLL)
        return False

    @contextmanager
    def _settled(self) -> Iterator[tuple[Arming | None, list[str]]]:
        """The true state, which nobody else changes meanwhile: the breakpoint, if one is set or
        has been reached, and the tags of all that is suspended."""
        with lock.held(self._guest.directory / _LOCK, deadline=_LOCK_DEADLINE):
            try:
                self._connect()
                yield self._settle()
            finally:
                # QEMU serves one client at a time; others must get their turn.
                self._machine.close()

    def _connect(self) -> None:
        try:
            _ = self._machine.qmp
        except QmpTimeout as error:
            raise HostError(
                f"guest {self._guest.record.name}: its QMP socket does not answer",
                hint="if a run uses the guest, wait for its end",
            ) from error
        # From here on no answer means that QEMU hangs in a drain.
        self._machine.holding = bool(held_in(self._guest))

    def _settle(self) -> tuple[Arming | None, list[str]]:
        tags = held_in(self._guest)
        arming = read_arming(self._guest)
        if arming and not arming.complete:
            arming = self._repair(arming, tags)
        if arming and not self._in_force(arming, tags):
            arming = None
            self._forget()
        return self._follow(arming) if arming else None, tags

    def _repair(self, arming: Arming, tags: Sequence[str]) -> Arming | None:
        """Undo what a killed command had begun, if it had not come to releasing the request."""
        before = arming.before
        begun = before is not None and before.tag not in tags
        if begun or arming.tag in tags:
            arming = arming.model_copy(update={"before": None, "complete": True})
            write_arming(self._guest, arming)
            return arming
        self._io(self._drive_of(arming.tag), f"remove_break {arming.tag}")
        if before:
            write_arming(self._guest, before)
        else:
            self._forget()
        return before

    def _in_force(self, arming: Arming, tags: Sequence[str]) -> bool:
        """Whether the breakpoint is there, or what it suspended: a run may have put another
        fault layer in place since, and a killed `release` have got half-way."""
        if arming.tag in tags:
            return True
        spent = f"'{arming.tag}'" in (self._guest.directory / STDOUT).read_text(errors="replace")
        layers = self._machine.fault_layers(self._drive_of(arming.tag))
        return not spent and arming.layer in layers

    def _set(self, new: Arming) -> Arming:
        """Set a breakpoint, and then release what is held; a later command can tell from the
        file and from QEMU's words how far this came."""
        write_arming(self._guest, new)
        drive, before = self._drive_of(new.tag), new.before
        if before and before.last:
            # Before a breakpoint is set, which its reads would run into.
            self._choose(before)
        # Set before the release: the next event cannot slip through.
        self._io(drive, f"break {EVENTS[new.stage]} {new.tag}")
        if before:
            self._io(drive, f"resume {before.tag}")
        new = new.model_copy(update={"before": None, "complete": True})
        write_arming(self._guest, new)
        return new

    def _follow(self, arming: Arming) -> Arming:
        """Have a process lead the disk through the passes before the last."""
        if arming.last or (arming.follower and arming.follower.alive()):
            return arming
        # Its directory and argument are those by which the guest's processes are ended with it.
        argv = [sys.executable, "-m", "lab.faults.follower", f"guest={self._guest.record.name}"]
        with uninterrupted():
            started = subprocess.Popen(
                argv,
                cwd=self._guest.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            arming = arming.model_copy(update={"follower": Process.of(started.pid)})
            write_arming(self._guest, arming)
        return arming

    def _choose(self, arming: Arming) -> None:
        for command in choice.commands(arming.kind, arming.errno):
            self._io(self._drive_of(arming.tag), command)

    def _io(self, drive: Drive, command: str) -> None:
        self._machine.qemu_io(drive.qdev, command)

    def _kept(self, arming: Arming | None, tags: Sequence[str]) -> Arming:
        if arming is None and not tags:
            raise self._nothing()
        if arming and arming.last and arming.tag in tags:
            return arming
        now = self._describe(arming, tags)
        what = f"{now.point} is armed, nothing is held yet" if arming else "a run left this behind"
        raise UsageError(what, hint=f"lab fault {self._guest.record.name} release")

    def _nothing(self) -> UsageError:
        name = self._guest.record.name
        return UsageError(
            f"guest {name}: nothing is armed or held", hint=f"lab fault {name} hold --at write:1"
        )

    def _let_errors_through(self) -> str:
        """Have the guest's drivers try nothing again; why that could not be done, or ''."""
        try:
            with self._guest.connect() as session:
                retries.let_errors_through(session)
        except GuestError as error:
            return str(error)
        return ""

    def _forget(self) -> None:
        """Nothing is set any more, and drivers try as often as before.  Raises GuestError."""
        forget_arming(self._guest)
        with self._guest.connect() as session:
            retries.restore(session)

    def _describe(self, arming: Arming | None, tags: Sequence[str]) -> FaultStatus:
        if arming is None and not tags:
            return FaultStatus("nothing")
        drive = self._drive_of(arming.tag if arming else tags[0])
        held = arming is None or (arming.last and arming.tag in tags)
        # QEMU's last word was that it suspended the request.
        since = (self._guest.directory / STDOUT).stat().st_mtime if held else None
        timeout = self._guest.record.profile.guest.nvme_io_timeout
        return FaultStatus(
            state="held" if held else "armed",
            disk=disk_name(drive),
            point=str(arming.point) if arming else None,
            seconds=time.time() - (since or (arming.since if arming else 0)),
            passed=arming.passed if arming else 0,
            error=errno.errorcode[arming.errno] if arming and arming.errno else None,
            io_timeout=float(timeout) if drive.nsid else None,
            retried=(arming.retried or None) if arming else None,
        )

    def _drive_of(self, tag: str) -> Drive:
        for drive in self._drives:
            if tag.startswith(f"{drive.id}-"):
                return drive
        raise HostError(f"breakpoint {tag}: of no disk of this guest")


def require_free(guest: Guest) -> None:
    """Raise UsageError if something is armed or held in the guest: a run would hang on it."""
    status = Hand(guest).status()
    if status.state != "nothing":
        name = guest.record.name
        raise UsageError(
            f"guest {name}: {status.point or 'a request'} of {status.disk} is {status.state}",
            hint=f"lab fault {name} release",
        )


def _after(held: Arming, **changed: object) -> Arming:
    """The breakpoint to be set when this one is held, and is to be released."""
    return held.model_copy(
        update={"before": held, "complete": False, "since": time.time(), **changed}
    )
