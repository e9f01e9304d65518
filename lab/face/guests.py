# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab.guest()` and `lab.attach()`: guests for a program."""

import itertools
import os
from collections.abc import Iterable

from lab.artifacts.kernels.names import kernel_name
from lab.artifacts.qemus.names import qemu_name
from lab.face.handle import GuestHandle
from lab.guest import guests, registry
from lab.guest.boot import Progress
from lab.host.process import me
from lab.profile.change import booting
from lab.profile.load import load
from lab.profile.models import Profile

_NUMBERS = itertools.count(1)


def silent(_phase: str) -> None:
    """The Progress of a program that was not asked to tell."""


def wanted(
    profile: str | os.PathLike[str], kernel: str | None, qemu: str | None, changes: Iterable[str]
) -> Profile:
    """A profile by its name or path, with what was set.  Raises ProfileError and UsageError."""
    return load(os.fspath(profile), booting(listed(changes), kernel_name(kernel), qemu_name(qemu)))


def listed(changes: Iterable[str]) -> list[str]:
    """Changes of a profile, of which one need not be a list."""
    return [changes] if isinstance(changes, str) else list(changes)


def guest(
    profile: str | os.PathLike[str],
    *,
    name: str | None = None,
    kernel: str | None = None,
    qemu: str | None = None,
    set: Iterable[str] = (),
    progress: Progress = silent,
) -> GuestHandle:
    """Boot a guest of a profile, which belongs to this process: use it in a `with` block.

    `name`: what commands call it, one that no other has unless it is said.  `kernel`, `qemu` and
    `set` are those of `lab up`.  `progress` is told each phase.  Where the process ends and the
    guest has not been taken down, the next command of the lab does that.

    Raises ProfileError and UsageError for what is asked wrongly, HostError and GuestError for what
    fails; nothing is left then but the console and QEMU's words, under `failed` in the state
    directory.
    """
    found = wanted(profile, kernel, qemu, set)
    registry.sweep()
    own = name or f"{found.name[:40].rstrip('-')}-{os.getpid()}.{next(_NUMBERS)}"
    return GuestHandle(guests.up(own, found, progress, owner=me()), own=True)


def attach(name: str) -> GuestHandle:
    """A guest that is up, which stays so.

    Raises UsageError when there is none of that name, HostError when it has died.
    """
    return GuestHandle(guests.attach(name), own=False)
