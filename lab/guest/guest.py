# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest: its boot, speaking to it, taking it down."""

import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from lab.errors import GuestError, GuestSilence, LabError
from lab.guest import blocked, boot, keys, openssh, readback, registry, stack
from lab.guest.begin import begin
from lab.guest.boot import Platform, Progress
from lab.guest.port import PortSession
from lab.guest.registry import Record
from lab.guest.session import Session
from lab.guest.spare import Spare
from lab.guest.stack import StackPart
from lab.host import qemu
from lab.host.process import Process
from lab.profile.models import Profile
from lab.vm.link import Link
from lab.vm.machine import Machine
from lab.vm.qmp import EventSink
from lab.vm.support import supported

SSH_DEADLINE = 60.0
PORT_DEADLINE = 30.0


class Guest:
    """A guest that is up.  It outlives the process that started it, until `down`."""

    def __init__(self, record: Record, machine: Machine, boot_seconds: float | None = None) -> None:
        self.record = record
        self.machine = machine
        self.boot_seconds = boot_seconds
        """From the start of QEMU until its agent answered, and from a checkpoint until every device
        is there; None if another process started it."""
        self.peer: Guest | None = None

    @property
    def directory(self) -> Path:
        """Its directory below the state directory."""
        return self.machine.directory

    def connect(self) -> Session:
        """A new connection to it: its agent's, or SSH where another process talks to that, or the
        kernel has no port for it.  Raises GuestError, or HostError if QEMU has died."""
        process = self.machine.process
        with self.machine.talked_to():
            if self.record.agent:
                with suppress(GuestError):
                    return PortSession(self.directory, deadline=PORT_DEADLINE, process=process)
            # With paramiko, whose import takes longer than all that is done over the port.
            from lab.guest.ssh import SshSession

            where = keys.of(self.directory)
            session = SshSession(self.record.port, where, deadline=SSH_DEADLINE)
            session.process = process
            return session

    def await_ready(self) -> None:
        """Wait until every device is there.  Raises GuestError."""
        boot.await_line(self.machine, boot.READY, self.record.profile.guest.boot_deadline)

    def bring_up(self, progress: Progress) -> tuple[StackPart, ...]:
        """Wait until every device is there and the profile's layers are made, those of the peer
        first, and say what was found.

        Raises GuestError when something is not there that the profile requires, HostError if QEMU
        dies.
        """
        if self.peer and not stack.found(self.peer.directory):
            self.peer.bring_up(progress)
        self.await_ready()
        try:
            parts = stack.collect(self.machine, progress, stack.expected(self.record.profile))
        except GuestSilence as silence:
            raise blocked.explained(silence, self) from silence
        stack.require(self.record.profile, parts)
        found = readback.found(self.directory)
        readback.require(found)
        for setting in found:
            if setting.failed:
                progress(f"warning: {setting.why()}")
        return parts

    def reboot(
        self,
        platform: Platform,
        progress: Progress,
        on_event: EventSink | None = None,
        spare: Spare | None = None,
    ) -> bool:
        """Begin again after QEMU was killed, on the media as they lie in the directory, in a spare
        if there is one, and whether it was of use; the agent answers then, the devices may still be
        on their way."""
        self.machine.close()
        record = self.record
        if spare and spare.ready():
            try:
                with registry.locked(self.directory):
                    machine = spare.take_over(on_event)
            except LabError as error:
                progress(f"boot {record.name}: the spare is of no use: {error}")
            else:
                self.record, self.machine = _renewed(record, machine), machine
                return True
        started = boot_guest(
            self.directory, record.name, record.profile, platform, progress,
            owner=record.owner, on_event=on_event, link=record.link,
        )  # fmt: skip
        self.record, self.machine = started.record, started.machine
        return False

    def down(self) -> None:
        """Kill QEMU and remove the directory with its media; the peer's as well."""
        with registry.locked(self.directory):
            self.machine.kill()
            registry.remove(self.directory)
        if self.peer:
            self.peer.down()

    def close(self) -> None:
        """Let go of QEMU, the peer's as well, without touching it."""
        for guest in filter(None, (self.peer, self)):
            guest.machine.close()

    def release(self) -> None:
        """Let the guest outlive this process, and its peer."""
        self.close()
        # The peer last: nobody but the guest leads to it.
        for guest in filter(None, (self, self.peer)):
            if guest.record.owner:
                guest.record = guest.record.model_copy(update={"owner": None})
                registry.write(guest.directory, guest.record)


def _renewed(record: Record, machine: Machine) -> Record:
    """The record of a guest that goes on in another machine, put in place."""
    changed = {"qemu": machine.process, "port": machine.ssh_port(), "started": time.time()}
    record = record.model_copy(update={**changed, "agent": True, "cold": None})
    registry.write(machine.directory, record)
    openssh.keep(machine.directory, record)
    return record


def boot_guest(
    path: Path,
    name: str,
    profile: Profile,
    platform: Platform,
    progress: Progress,
    *,
    owner: Process | None,
    on_event: EventSink | None,
    link: Link | None,
) -> Guest:
    """Start a guest's QEMU on what lies in its directory, from a checkpoint if there is one, and
    wait until its agent answers; the caller holds the lock.  Raises HostError or GuestError, and
    has ended QEMU then."""
    properties = partial(qemu.properties, platform.qemu)
    able, missing = supported(profile, platform.qemu, properties)
    start = time.monotonic()
    started = begin(path, name, able, platform, progress, on_event, link)
    boot_seconds = time.monotonic() - start
    machine = started.machine
    try:
        record = Record(
            name=name,
            profile=profile,
            kernel=platform.kernel.release,
            qemu=machine.process,
            accelerator=platform.accelerator.name,
            accelerator_note=platform.accelerator.why,
            port=machine.ssh_port(),
            started=time.time(),
            owner=owner,
            link=link,
            missing=missing,
            trees=tuple(path for _, path in platform.trees),
            agent=started.agent,
            cold=started.cold,
        )
        registry.write(path, record)
        openssh.keep(path, record)
    except BaseException:
        machine.kill()
        raise
    return Guest(record, machine, boot_seconds)
