"""A guest: starting it, finding it again, speaking to it, taking it down."""

import contextlib
import shutil
import time
from pathlib import Path

from lab.errors import HostError, LabError
from lab.guest import boot, keys, registry
from lab.guest.boot import Platform, Progress, TcgDefect
from lab.guest.registry import Record
from lab.guest.ssh import Session
from lab.host import dirs
from lab.host.process import Process
from lab.profile.models import Profile
from lab.vm.argv import CONSOLE_LOG
from lab.vm.machine import ARGV, STDERR, Machine, ending, said
from lab.vm.qmp import EventSink

SSH_DEADLINE = 60.0


class AlreadyUp(HostError):
    """A guest of that name runs."""


class Guest:
    """A guest that is up.  It outlives the process that started it, until `down`."""

    def __init__(self, record: Record, machine: Machine) -> None:
        self.record = record
        self.machine = machine

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

    def reboot(
        self, platform: Platform, progress: Progress, on_event: EventSink | None = None
    ) -> None:
        """Start QEMU again after it was killed, on the media as they lie in the directory; SSH
        listens then, the devices may still be on their way."""
        self.machine.close()
        started = _start(
            self.directory, self.record.name, self.record.profile, platform, progress,
            owner=self.record.owner, on_event=on_event,
        )  # fmt: skip
        self.record, self.machine = started.record, started.machine

    def down(self) -> None:
        """Kill QEMU and remove the directory with its media."""
        with registry.locked(self.directory):
            self.machine.kill()
            registry.remove(self.directory)


def up(name: str, profile: Profile, progress: Progress) -> Guest:
    """Start a guest on fresh media and wait until it is ready.

    Raises ProfileError, HostError or GuestError; what was started is gone then, and the console,
    stderr and argv of the failed boot are kept in the state directory under failed/NAME.
    """
    guest = start(name, profile, progress)
    try:
        guest.await_ready()
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
    owner: Process | None = None,
    platform: Platform | None = None,
    on_event: EventSink | None = None,
) -> Guest:
    """Like `up`, but return as soon as SSH listens; the devices may still be on their way."""
    path = registry.directory(name)
    with registry.locked(path):
        _clear(path)
        try:
            platform = platform or Platform.find(profile, progress)
            boot.create_media(path, profile)
            progress(f"boot {name} under {platform.accelerator.name.upper()}")
            return _start(path, name, profile, platform, progress, owner=owner, on_event=on_event)
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
    with registry.locked(path):
        registry.remove(path)


def _start(
    path: Path,
    name: str,
    profile: Profile,
    platform: Platform,
    progress: Progress,
    *,
    owner: Process | None,
    on_event: EventSink | None,
) -> Guest:
    try:
        machine = _boot(path, name, profile, platform, on_event)
    except TcgDefect as defect:
        # Not a retry that hides a result: no test has begun.
        progress(f"boot {name} once more: QEMU's TCG broke the first boot: {defect.message}")
        machine = _boot(path, name, profile, platform, on_event)
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
        )
        registry.write(path, record)
    except BaseException:
        machine.kill()
        raise
    return Guest(record, machine)


def _boot(
    path: Path, name: str, profile: Profile, platform: Platform, on_event: EventSink | None
) -> Machine:
    machine = boot.launch(path, name, profile, platform, keys.ensure(), on_event)
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
        kept = dirs.state("failed", path.name)
        for name in (CONSOLE_LOG, STDERR, ARGV):
            if (path / name).exists():
                shutil.copy(path / name, kept)
