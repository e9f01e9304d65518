# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that begins from a checkpoint: QEMU loads it, devices are plugged, and its agent is told
who it is."""

import base64
import secrets
import stat
import time
from pathlib import Path

from lab.artifacts.initramfs import ArchiveEntry
from lab.errors import GuestError, LabError
from lab.guest import initrd
from lab.guest.boot import READY, Platform, await_line, empty_logs, empty_write_logs
from lab.guest.checkpoints import Checkpoint
from lab.guest.port import PortSession
from lab.profile.models import Profile
from lab.vm import checkpoint
from lab.vm.argv import Boot, plugged, restoring, wanted_ports
from lab.vm.given.handover import check_host_devices
from lab.vm.graph import drives
from lab.vm.link import Link
from lab.vm.machine import Machine
from lab.vm.qmp import EventSink
from lab.vm.walls import Reach

_LOAD_DEADLINE = 60.0
_CLOCK = 0.01
"""Seconds of a round trip by which the guest's clock is set.  It is wrong by so many at most:
half of them for what the trip leaves open, half for what is let pass."""
_CLOCK_PATIENCE = 15.0
"""Seconds in which that is tried, on a host that is busy."""
_SHARE = 1 / 3
"""Of the deadline of a boot, besides a second for each disk: it takes a tenth of a boot."""
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
    write logs; return when its agent has been told who it is and every device is there.

    Raises HostError or GuestError, and has ended QEMU then.
    """
    check_host_devices(profile)
    machine = loaded(directory, profile, platform.boot(name, link), found, on_event)
    try:
        arrive(machine, name, profile, platform, link)
    except LabError as error:
        died = None if machine.alive() else machine.died()
        machine.kill()
        raise died or error from error
    except BaseException:
        machine.kill()
        raise
    return machine


def loaded(
    directory: Path,
    profile: Profile,
    boot: Boot,
    found: Checkpoint,
    on_event: EventSink | None = None,
) -> Machine:
    """A machine that has a checkpoint loaded, stopped, without devices of the profile.  Raises
    HostError."""
    empty_logs(directory)
    argv = restoring(profile, boot, found.ports, found.memory)
    machine = Machine.launch(directory, argv, Reach.of(profile, boot, found.memory), on_event)
    try:
        about = found.about
        checkpoint.load(
            machine, found.state, about.way, mapped=about.mapped, deadline=_LOAD_DEADLINE
        )
    except BaseException:
        machine.kill()
        raise
    return machine


def arrive(
    machine: Machine, name: str, profile: Profile, platform: Platform, link: Link | None
) -> None:
    """Plug the devices of the profile into a machine, with the media that lie in its directory and
    empty write logs, let it run, tell its agent who it is, and wait until every device is there.

    One may never be: the timer of a CPU was seen not to fire any more, from the second on in which
    the disks took their places in memory (one in some thousand guests, QEMU 7.2 under TCG, on a
    busy host).  Raises HostError or GuestError.
    """
    empty_write_logs(machine.directory, profile)
    boot = platform.boot(name, link)
    checkpoint.plug(machine, *plugged(profile, boot))
    machine.execute("cont")
    files = initrd.own(name, profile, link, machine.directory, platform.modules)
    ports = wanted_ports(profile, boot)
    adopt(machine.directory, files, ports, profile.guest.boot_deadline)
    patience = profile.guest.boot_deadline * _SHARE + len(drives(profile))
    await_line(machine, READY, patience)


def greet(directory: Path, deadline: float) -> None:
    """Have the agent of a guest that waits answer once.  Raises GuestError."""
    with PortSession(directory, deadline=deadline) as session:
        _set_clock(session, deadline)


def adopt(directory: Path, files: dict[str, ArchiveEntry], ports: int, deadline: float) -> None:
    """Tell the agent of the guest in a directory the time, and who it is, and that something was
    plugged into so many root ports.  Raises GuestError."""
    packed = {
        path: (base64.b64encode(entry.data).decode(), stat.S_IMODE(entry.mode))
        for path, entry in files.items()
    }
    with PortSession(directory, deadline=deadline) as session:
        _set_clock(session, deadline)
        seed = base64.b64encode(secrets.token_bytes(_SEED)).decode()
        session.ask("adopt", deadline=deadline, files=packed, seed=seed, ports=ports)


def _set_clock(session: PortSession, deadline: float) -> None:
    """Set the guest's clock, and look at it until it is right.  Raises GuestError."""
    end = time.monotonic() + _CLOCK_PATIENCE
    wrong = _wrong(session, deadline, end)
    while True:
        session.ask("clock", deadline=deadline, by=wrong)
        wrong = _wrong(session, deadline, end)
        if abs(wrong) <= _CLOCK / 2 or time.monotonic() > end:
            return


def _wrong(session: PortSession, deadline: float, end: float) -> float:
    """By how many seconds the guest's clock is behind, as the shortest of some round trips tells
    best; the first takes long, since all it needs is to be translated.  Raises GuestError."""
    trips: list[tuple[float, float]] = []
    while not trips or time.monotonic() < end:
        before = time.time()
        said = session.ask("clock", deadline=deadline)
        after = time.time()
        if not isinstance(said, float):
            raise GuestError(f"the guest's agent says that it is {said}")
        trips.append((after - before, (before + after) / 2 - said))
        if after - before < _CLOCK:
            break
    return min(trips)[1]
