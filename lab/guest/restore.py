# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that begins from a checkpoint: QEMU loads it, devices are plugged, and its agent is told
who it is."""

import base64
import secrets
import stat
import time
from pathlib import Path

from lab.artifacts.initramfs import ArchiveEntry
from lab.errors import GuestError
from lab.guest import initrd
from lab.guest.boot import Platform, empty_logs
from lab.guest.checkpoints import Checkpoint
from lab.guest.port import PortSession
from lab.profile.models import Profile
from lab.vm import checkpoint
from lab.vm.argv import plugged, restoring
from lab.vm.given.handover import check_host_devices
from lab.vm.link import Link
from lab.vm.machine import Machine
from lab.vm.qmp import EventSink

_LOAD_DEADLINE = 60.0
_CLOCK = 0.01
"""Seconds by which the guest's clock may be wrong."""
_CLOCK_TRIES = 5
_SEED = 64
"""Bytes."""


def restore(
    directory: Path,
    name: str,
    profile: Profile,
    platform: Platform,
    found: Checkpoint,
    link: Link | None,
    on_event: EventSink | None,
) -> Machine:
    """Start a guest from a checkpoint in its directory, on the media that lie there, with empty
    write logs; return when its agent has been told who it is.

    Raises HostError or GuestError, and has ended QEMU then.
    """
    check_host_devices(profile)
    empty_logs(directory, profile)
    boot = platform.boot(name, link)
    machine = Machine.launch(
        directory, restoring(profile, boot, found.ports, found.memory), on_event
    )
    try:
        checkpoint.load(machine, found.state, mapped=found.about.mapped, deadline=_LOAD_DEADLINE)
        checkpoint.plug(machine, *plugged(profile, boot))
        checkpoint.resume(machine)
        files = initrd.own(name, profile, link, directory)
        adopt(directory, files, profile.guest.boot_deadline)
    except BaseException:
        machine.kill()
        raise
    return machine


def adopt(directory: Path, files: dict[str, ArchiveEntry], deadline: float) -> None:
    """Tell the agent of the guest in a directory the time, and who it is.  Raises GuestError."""
    packed = {
        path: (base64.b64encode(entry.data).decode(), stat.S_IMODE(entry.mode))
        for path, entry in files.items()
    }
    with PortSession(directory, deadline=deadline) as session:
        _set_clock(session, deadline)
        seed = base64.b64encode(secrets.token_bytes(_SEED)).decode()
        session.ask("adopt", deadline=deadline, files=packed, seed=seed)


def _set_clock(session: PortSession, deadline: float) -> None:
    """Set the guest's clock; the first time takes long, since under emulation all it needs is to be
    translated.  Raises GuestError."""
    for _ in range(_CLOCK_TRIES):
        before = time.time()
        said = session.ask("clock", deadline=deadline, now=before)
        # It was right when it was set, and has gone on since.
        if time.time() - before < _CLOCK and abs(said - time.time()) < _CLOCK:
            return
    # On a host that is so busy nobody can tell the time better.
    if not isinstance(said, float):
        raise GuestError(f"the guest's agent says that it is {said}")
