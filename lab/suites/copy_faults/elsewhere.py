# SPDX-License-Identifier: GPL-2.0-or-later
"""What was recorded elsewhere, on this host: another kernel or QEMU, and what a bundle may ask for.

A bundle comes from other people.  It may name what has a name here, a kernel, a QEMU or an image;
what it says of places on a host was true of another one, and here it could be anything.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from lab.artifacts import image
from lab.artifacts.kernels import names as kernels
from lab.artifacts.qemus import names as qemus
from lab.errors import UsageError
from lab.profile.hostdev import HostDevice
from lab.profile.models import Peer, Profile
from lab.results.bundle import BundleNote
from lab.vm.graph import drives


def on(profile: Profile, kernel: str | None, qemu: str | None) -> Profile:
    """The profile on another kernel and in another QEMU, where they are given: references as
    `--kernel` and `--qemu` take them.  Raises UsageError."""
    if kernel:
        profile = profile.model_copy(update={"kernel": kernels.kernel_name(kernel)})
    if qemu:
        machine = profile.machine.model_copy(update={"qemu": qemus.qemu_name(qemu)})
        profile = profile.model_copy(update={"machine": machine})
    return profile


def bundled(
    path: Path, about: BundleNote, profile: Profile, kernel: str | None, qemu: str | None
) -> Profile:
    """The profile in the bundle at `path`, on another kernel and in another QEMU as on() has it.

    Raises UsageError with all that this host lacks, and all that no bundle may ask for.
    """
    found = on(profile, kernel, qemu)
    # What the user named is the user's, wherever it lies.
    named = ((kernel, found.kernel), (qemu, found.machine.qemu))
    own = [reference for given, reference in named if given]
    guests: list[Profile | Peer] = [found, *([found.peer] if found.peer else [])]
    if wrong := [line for guest in guests for line in _wrong(about, guest, own)]:
        raise UsageError(
            f"{path} cannot be replayed here: {wrong[0][0]}",
            detail="\n".join(what for what, _ in wrong[1:]),
            hint=wrong[0][1],
        )
    return found


def _wrong(
    about: BundleNote, guest: Profile | Peer, own: Collection[str]
) -> Iterator[tuple[str, str]]:
    """What a guest cannot have, and what to do about it."""
    was = about.kernel
    origin = f", of {was['source']}" if "source" in was else ""
    release = f"{was.get('release', 'unknown')}{origin}"
    yield from _wrong_name("kernel", kernels, guest.kernel, release, own)
    yield from _wrong_name("QEMU", qemus, guest.machine.qemu, about.qemu or "unknown", own)
    if guest.image not in image.definitions():
        yield f"no image {guest.image}", "see lab image list, and docs/guests.md"
    for device in guest.devices:
        if isinstance(device, HostDevice):
            # By its name here it could be any disk.
            yield (
                f"device {device.serial} was a device of the host that it was recorded on",
                "write a profile with a device of this host, and lab run that",
            )
    for drive in drives(guest):
        if drive.prepared:
            # The same of files: the guest would read it.
            yield (
                f"no prepared medium {drive.prepared} for {drive.serial}: no file of this host is "
                "taken because a bundle says so",
                "ask whoever made the bundle for it, name it in a profile, and lab run that",
            )


class _Names(Protocol):
    """What knows the names of kernels, or of QEMUs."""

    def is_place(self, reference: str) -> bool: ...
    def resolve(self, reference: str) -> object: ...


def _wrong_name(
    what: str, names: _Names, name: str, told: str, own: Collection[str]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the name of a kernel or of a QEMU; `told`: what it was."""
    option = f"--{what.lower()} NAME"
    if name not in own and names.is_place(name):
        # What lies there would be run, as a kernel's Makefile is.
        yield (
            f"{what} {name} is a place on the host that it was recorded on; it was {told}",
            f"{option}|PATH takes another one, or one of your own; of a second guest none can be "
            "given",
        )
        return
    try:
        names.resolve(name)
    except UsageError:
        add = f"lab {what.lower()} add {Path(name).name} …"
        yield f"no {what} {name}; it was {told}", f"{option} takes another one; or {add}"
