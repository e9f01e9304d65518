# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest: starting it, finding it again, speaking to it, taking it down.

A profile with a peer makes two guests, NAME and NAME-peer, which live and die together.
"""

import contextlib
import shutil
import time
from functools import partial
from pathlib import Path

from lab.artifacts.qemus.names import HOST
from lab.errors import HostError, LabError
from lab.guest import boot, keys, openssh, readback, registry, stack
from lab.guest.boot import Platform, Progress, QemuDefect
from lab.guest.media import create_media
from lab.guest.registry import Record
from lab.guest.ssh import Session
from lab.guest.stack import StackPart
from lab.host import dirs
from lab.host import qemu as host_qemu
from lab.host.process import Process, me
from lab.profile.models import Profile
from lab.vm.argv import CONSOLE_LOG, LAYERS_LOG
from lab.vm.link import Link
from lab.vm.machine import ARGV, STDERR, Machine, ending, said
from lab.vm.qmp import EventSink
from lab.vm.support import supported

SSH_DEADLINE = 60.0


class AlreadyUp(HostError):
    """A guest of that name runs."""


class Guest:
    """A guest that is up.  It outlives the process that started it, until `down`."""

    def __init__(self, record: Record, machine: Machine, boot_seconds: float | None = None) -> None:
        self.record = record
        self.machine = machine
        self.boot_seconds = boot_seconds
        """From the start of QEMU until SSH listened; None if another process started it."""
        self.peer: Guest | None = None

    @property
    def directory(self) -> Path:
        """Its directory below the state directory."""
        return self.machine.directory

    def connect(self) -> Session:
        """A new SSH connection to it.  Raises GuestError, or HostError if QEMU has died."""
        try:
            return Session(self.record.port, keys.ensure(), deadline=SSH_DEADLINE)
        except LabError as error:
            if not self.machine.alive():
                raise self.machine.died() from error
            raise

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
        parts = stack.collect(self.machine, progress)
        stack.require(self.record.profile, parts)
        found = readback.found(self.directory)
        readback.require(found)
        for setting in found:
            if setting.failed:
                progress(f"warning: {setting.why()}")
        return parts

    def reboot(
        self, platform: Platform, progress: Progress, on_event: EventSink | None = None
    ) -> None:
        """Start QEMU again after it was killed, on the media as they lie in the directory; SSH
        listens then, the devices may still be on their way."""
        self.machine.close()
        started = _start(
            self.directory, self.record.name, self.record.profile, platform, progress,
            owner=self.record.owner, on_event=on_event, link=self.record.link,
        )  # fmt: skip
        self.record, self.machine = started.record, started.machine

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
        """Let the guest outlive this process."""
        self.close()
        for guest in filter(None, (self.peer, self)):
            if guest.record.owner:
                guest.record = guest.record.model_copy(update={"owner": None})
                registry.write(guest.directory, guest.record)


def up(name: str, profile: Profile, progress: Progress, *, owner: Process | None = None) -> Guest:
    """Start a guest on fresh media and wait until all its layers are up; it stays, or as long as
    its `owner`, and anybody may speak to its QEMU.

    Raises ProfileError, HostError or GuestError; what was started is gone then, and the console,
    stderr and argv of the failed boot are kept in the state directory under failed/NAME.
    """
    # Ours until it is complete: a lab that is killed meanwhile leaves what can be swept.
    guest = start(name, profile, progress, owner=owner or me())
    try:
        guest.bring_up(progress)
        if owner:
            guest.close()
        else:
            guest.release()
    except BaseException:
        _keep_failed(guest.directory)
        guest.down()
        raise
    return guest


def start(
    name: str,
    profile: Profile,
    progress: Progress,
    *,
    owner: Process,
    platform: Platform | None = None,
    on_event: EventSink | None = None,
) -> Guest:
    """Start a guest, and its peer, and return as soon as SSH listens; its devices may still be on
    their way, and its layers in the making (`bring_up`)."""
    if profile.peer is None:
        return _start_on_fresh_media(name, profile, progress, owner, platform, on_event)
    other = f"{name}-peer"
    peer = _start_on_fresh_media(
        other, peer_profile(profile), progress, owner, None, on_event, Link(name, 2)
    )
    try:
        guest = _start_on_fresh_media(
            name, profile, progress, owner, platform, on_event, Link(other, 1)
        )
    except BaseException:
        peer.down()
        raise
    guest.peer = peer
    return guest


def peer_profile(profile: Profile) -> Profile:
    """The peer of a profile as a profile of its own."""
    assert profile.peer is not None
    fields = {name: getattr(profile.peer, name) for name in type(profile.peer).model_fields}
    if profile.peer.machine.qemu == HOST:
        # Its devices are as much under test.
        machine = profile.peer.machine.model_copy(update={"qemu": profile.machine.qemu})
        fields["machine"] = machine
    return Profile(name=f"{profile.name}-peer"[:64], description=profile.description, **fields)


def _start_on_fresh_media(
    name: str,
    profile: Profile,
    progress: Progress,
    owner: Process,
    platform: Platform | None,
    on_event: EventSink | None,
    link: Link | None = None,
) -> Guest:
    path = registry.directory(name)
    with registry.locked(path):
        _clear(path)
        try:
            platform = platform or Platform.find(profile, progress)
            create_media(path, profile)
            progress(f"boot {name} under {platform.accelerator.name.upper()}")
            return _start(
                path, name, profile, platform, progress, owner=owner, on_event=on_event, link=link
            )
        except BaseException:
            _keep_failed(path)
            registry.remove(path)
            raise


def attach(name: str, on_event: EventSink | None = None) -> Guest:
    """The running guest of that name.

    Raises UsageError when there is none, HostError with QEMU's last words when it has died.
    """
    record = registry.find(name)
    path = registry.directory(name)
    if not record.alive():
        raise HostError(
            f"guest {name}: QEMU (pid {record.qemu.pid}) {ending(path)}",
            detail=said(path),
            hint=f"lab down {name} removes what is left; lab up starts a new one",
        )
    return Guest(record, Machine(path, record.qemu, on_event))


def down(name: str) -> None:
    """Take a guest down, dead or alive.  Raises UsageError when there is none of that name."""
    path = registry.directory(name)
    if not path.exists():
        registry.find(name)
    record = registry.read(path)
    with registry.locked(path):
        registry.remove(path)
    other = registry.directory(record.link.other) if record and record.link else None
    if other and other.exists():
        with registry.locked(other):
            registry.remove(other)


def _start(
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
    properties = partial(host_qemu.properties, platform.qemu)
    able, missing = supported(profile, platform.qemu, properties)
    start = time.monotonic()
    try:
        machine = _boot(path, name, able, platform, on_event, link)
    except QemuDefect as defect:
        # Not a retry that hides a result: no test has begun.
        progress(f"boot {name} once more: QEMU broke the first boot: {defect.message}")
        machine = _boot(path, name, able, platform, on_event, link)
    boot_seconds = time.monotonic() - start
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
        )
        registry.write(path, record)
        openssh.keep(path, record)
    except BaseException:
        machine.kill()
        raise
    return Guest(record, machine, boot_seconds)


def _boot(
    path: Path,
    name: str,
    profile: Profile,
    platform: Platform,
    on_event: EventSink | None,
    link: Link | None,
) -> Machine:
    machine = boot.launch(path, name, profile, platform, keys.ensure(), on_event, link)
    try:
        boot.await_line(machine, boot.LISTENS, profile.guest.boot_deadline)
    except BaseException:
        machine.kill()
        raise
    return machine


def _clear(path: Path) -> None:
    """Empty a guest's directory of one that died or was never ready.  Raises AlreadyUp."""
    record = registry.read(path)
    if record and record.alive() and not record.orphaned():
        raise AlreadyUp(f"guest {path.name} is already up")
    registry.end_processes(path)
    for leftover in list(path.iterdir()):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _keep_failed(path: Path) -> None:
    """Save what tells why a boot failed."""
    with contextlib.suppress(OSError, HostError):
        keep_words(path, dirs.state("failed", path.name))


def keep_words(path: Path, target: Path) -> None:
    """Copy what tells how a guest came to where it is from its directory: its console, QEMU's words
    and its command line.  Raises OSError."""
    for name in (CONSOLE_LOG, LAYERS_LOG, STDERR, ARGV):
        if (path / name).exists():
            shutil.copy(path / name, target)
