# SPDX-License-Identifier: GPL-2.0-or-later
"""How a guest begins: from a checkpoint, or by booting, which makes one for those that come."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.artifacts import cache
from lab.errors import LabError
from lab.guest import checkpoints, making
from lab.guest.boot import LISTENS, SILENT, Platform, Progress, QemuDefect, await_line, launch
from lab.guest.checkpoints import Checkpoint, Recipe
from lab.guest.restore import restore
from lab.profile.hostdev import HostNvme
from lab.profile.models import Profile
from lab.vm.link import Link
from lab.vm.machine import Machine
from lab.vm.qmp import EventSink

_ASKED = "asked for"
_NOT_YET = "there was no checkpoint yet"
_NO_PORT = "its kernel has no virtio console (CONFIG_VIRTIO_CONSOLE), by which it would be told"


@dataclass(frozen=True)
class Beginning:
    """A machine whose guest answers: whether its agent does, and why it was booted, None if it
    began from a checkpoint."""

    machine: Machine
    agent: bool
    cold: str | None


def begin(
    path: Path,
    name: str,
    profile: Profile,
    platform: Platform,
    progress: Progress,
    on_event: EventSink | None,
    link: Link | None,
) -> Beginning:
    """Start a guest's QEMU on what lies in its directory, and wait until it answers.

    Where a checkpoint cannot be had, or is of no use, the guest is booted, and it is told why.
    Raises HostError or GuestError, and has ended QEMU then.
    """
    why = cold_because(profile)
    recipe = Recipe.of(profile, platform, link)
    found = None if why else _found(recipe, progress)
    if isinstance(found, Checkpoint):
        try:
            machine = restore(path, name, profile, platform, found, link, on_event)
            return Beginning(machine, agent=True, cold=None)
        except LabError as error:
            found = f"the checkpoint is of no use: {error}"
            progress(f"boot {name}: {found}")
    boot = partial(_boot, path, name, profile, platform, on_event, link)
    try:
        machine, agent = boot()
    except QemuDefect as defect:
        # Not a retry that hides a result: no test has begun.
        progress(f"boot {name} once more: QEMU broke the first boot: {defect.message}")
        machine, agent = boot()
    if not agent:
        return Beginning(machine, agent, cold=why or _NO_PORT)
    if found is None and not why:
        making.in_background(recipe)
    return Beginning(machine, agent, cold=why or found or _NOT_YET)


def cold_because(profile: Profile) -> str:
    """Why guests of a profile are always booted; '' if they need not be."""
    if profile.guest.boot == "cold":
        return _ASKED
    for device in profile.devices:
        if isinstance(device, HostNvme):
            return f"{device.serial}: a controller of the host is not plugged"
    return ""


def lasting(cold: str | None) -> str:
    """Why a guest was booted that will be the next time too, unless somebody does something; ''
    for one that began from a checkpoint, was to be booted, or made a checkpoint."""
    return "" if cold in (None, "", _ASKED, _NOT_YET) else cold or ""


def _found(recipe: Recipe, progress: Progress) -> Checkpoint | str | None:
    """The checkpoint, waited for if it is being made; why there will be none; or None."""
    if why := making.failed(recipe):
        return f"no checkpoint could be made: {why}"
    try:
        if found := checkpoints.find(recipe):
            return found
        if not cache.being_made(recipe.artifact):
            return None
        progress("wait for the checkpoint that is being made")
        end = time.monotonic() + recipe.profile.guest.boot_deadline
        while cache.being_made(recipe.artifact) and time.monotonic() < end:
            time.sleep(0.05)
        return checkpoints.find(recipe)
    except LabError as error:
        progress(f"warning: {error}")
        return str(error)


def _boot(
    path: Path,
    name: str,
    profile: Profile,
    platform: Platform,
    on_event: EventSink | None,
    link: Link | None,
) -> tuple[Machine, bool]:
    """A machine that was booted, and whether its agent answers."""
    machine = launch(path, name, profile, platform, on_event, link)
    try:
        deadline = profile.guest.boot_deadline
        said = await_line(machine, LISTENS, deadline, SILENT)
    except BaseException:
        machine.kill()
        raise
    return machine, said == LISTENS
