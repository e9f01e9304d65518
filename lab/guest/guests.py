# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests that there are: starting one, finding it again, taking it down by its name.

A profile with a peer makes two guests, NAME and NAME-peer, which live and die together.
"""

import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from lab.artifacts.qemus.names import HOST
from lab.errors import HostError
from lab.guest import debugger, registry
from lab.guest.boot import Platform, Progress
from lab.guest.guest import Guest, boot_guest
from lab.guest.media import create_media
from lab.host import dirs
from lab.host.process import Process, me
from lab.profile.models import Profile
from lab.vm.argv import CONSOLE_LOG, LAYERS_LOG
from lab.vm.ending import STDERR, ending, said
from lab.vm.link import Link
from lab.vm.machine import ARGV, PLUGGED, Machine
from lab.vm.qmp import EventSink


class AlreadyUp(HostError):
    """A guest of that name runs."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"guest {name} is already up",
            hint=f"lab down {name} first, or give --name another one",
        )
        self.name = name


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
    """Start a guest, and its peer, and return as soon as it answers; its devices may still be on
    their way, and its layers in the making (`bring_up`)."""
    if profile.peer is None:
        return _start_on_fresh_media(name, profile, progress, owner, platform, on_event)
    # Before there is a peer, in whose place that of the guest that is up may be.
    _refuse_running(registry.directory(name))
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
            return boot_guest(
                path, name, profile, platform, progress, owner=owner, on_event=on_event, link=link
            )
        except BaseException:
            _keep_failed(path)
            registry.remove(path)
            raise


def attach(name: str, on_event: EventSink | None = None) -> Guest:
    """The running guest of that name.

    Raises UsageError when there is none, or it is another host's, HostError with QEMU's last words
    when it has died.
    """
    record = registry.find(name)
    registry.require_ours(record)
    path = registry.directory(name)
    if not record.alive():
        raise HostError(
            f"guest {name}: QEMU (pid {record.qemu.pid}) {ending(path)}",
            detail=said(path),
            hint=f"lab down {name} removes what is left; lab up starts a new one",
        )
    machine = Machine(path, record.qemu, on_event)
    # Nothing would answer in a guest that stands still.
    debugger.release(path, machine)
    return Guest(record, machine)


def down(name: str) -> None:
    """Take a guest down, dead or alive.  Raises UsageError when there is none of that name, or it
    is another host's."""
    path = registry.directory(name)
    if not path.exists():
        registry.find(name)
    record = registry.read(path)
    if record:
        registry.require_ours(record)
    ends = [path]
    if record and record.link:
        ends.insert(2 - record.link.end, registry.directory(record.link.other))
    there = [end for end in ends if end.exists()]
    with ExitStack() as stack:
        for end in there:
            stack.enter_context(registry.locked(end))
        # The peer first: the guest by whose name both are found is there to the last.
        for end in reversed(there):
            registry.remove(end)


def _refuse_running(path: Path) -> None:
    """Raise AlreadyUp where a guest runs in that directory, and its owner does if it has one;
    UsageError where it is another host's."""
    record = registry.read(path)
    if record:
        registry.require_ours(record)
    if record and record.alive() and not record.orphaned():
        raise AlreadyUp(path.name)


def _clear(path: Path) -> None:
    """Empty a guest's directory of one that died or was never ready.  Raises AlreadyUp."""
    _refuse_running(path)
    registry.end_processes(path)
    for leftover in list(path.iterdir()):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _keep_failed(path: Path) -> None:
    """Save what tells why a boot failed."""
    with suppress(OSError, HostError):
        keep_words(path, dirs.state("failed", path.name))


def keep_words(path: Path, target: Path) -> None:
    """Copy what tells how a guest came to where it is from its directory: its console, QEMU's words
    and its command line.  Raises OSError."""
    for name in (CONSOLE_LOG, LAYERS_LOG, STDERR, ARGV, PLUGGED):
        if (path / name).exists():
            shutil.copy(path / name, target)
