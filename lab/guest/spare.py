# SPDX-License-Identifier: GPL-2.0-or-later
"""A spare: a guest that was restored beforehand and waits for the media of one that is killed.

It has a directory of its own beside that of the guest.  When it takes over, everything of the
guest but what its last boot left goes there, and the directory takes the place of the guest's: the
spare's QEMU works in it, and finds all by the names that they have in any guest's directory.
"""

import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from lab.errors import HostError, LabError
from lab.guest import registry, restore
from lab.guest.boot import Platform
from lab.guest.checkpoints import Recipe, find
from lab.guest.port import LOCK
from lab.guest.registry import Record
from lab.host.burden import available_memory
from lab.vm.argv import (
    CONSOLE_LOG,
    CONSOLE_SOCKET,
    INITRD,
    LAYERS_LOG,
    PID_FILE,
    PORT_SOCKET,
    QMP_SOCKET,
    TRACE_LOG,
)
from lab.vm.ending import EXIT_STATUS, OUT_OF_MEMORY, STDERR
from lab.vm.link import SOCKET
from lab.vm.machine import ARGV, PLUGGED, Machine
from lab.vm.start import STDOUT

_OF_A_BOOT = {
    *(CONSOLE_LOG, LAYERS_LOG, TRACE_LOG, STDERR, STDOUT, ARGV, INITRD, PID_FILE),
    *(EXIT_STATUS, OUT_OF_MEMORY),
    *(CONSOLE_SOCKET, PORT_SOCKET, QMP_SOCKET, SOCKET, LOCK, PLUGGED),
}
"""Files that belong to a boot and not to the guest."""

_HEADROOM = 512 << 20
"""Bytes that must be left of the host's memory, were all of the spare's used."""
_PATIENCE = 120.0


class Spare:
    """One, made in a thread of its own; `close` it, unless it took over."""

    def __init__(self, record: Record, platform: Platform, number: int) -> None:
        self._record = record
        self._number = number
        self._platform = platform
        self._owned = ExitStack()
        self._machine: Machine | None = None
        self.problem = ""
        """Why there is none."""
        self._maker = threading.Thread(target=self._make, name="spare", daemon=True)
        self._maker.start()

    @property
    def directory(self) -> Path:
        """Its directory while it waits."""
        return registry.directory(self._record.name).with_name(
            f"{self._record.name}{registry.SPARE}{self._number}"
        )

    def ready(self) -> bool:
        """Whether it can take over; waits for one that is being made."""
        self._maker.join(_PATIENCE)
        return not self._maker.is_alive() and self._machine is not None and self._machine.alive()

    def _make(self) -> None:
        try:
            self._wait()
        except LabError as error:
            self.problem = str(error)
            self._release()

    def _wait(self) -> None:
        profile = self._record.profile
        free = available_memory()
        if free < profile.machine.memory + _HEADROOM:
            raise HostError(f"only {free >> 20} MiB of memory are free for a spare")
        found = find(Recipe.of(profile, self._platform, self._record.link))
        if not found:
            raise HostError("there is no checkpoint")
        # Held for as long as it waits: nobody sweeps it.
        self._owned.enter_context(registry.locked(self.directory))
        boot = self._platform.boot(self._record.name, self._record.link)
        self._machine = restore.loaded(self.directory, profile, boot, found)
        self._machine.execute("cont")
        # What runs for the first time takes long under emulation.
        restore.greet(self.directory, profile.guest.boot_deadline)

    def take_over(self, on_event: Callable[[str, dict[str, Any]], None] | None) -> Machine:
        """Become the guest, whose QEMU has ended, on its media; the caller holds the guest's lock.

        Raises HostError or GuestError: then the guest's directory holds its media, and no QEMU
        runs there.
        """
        assert self._machine is not None
        machine, record = self._machine, self._record
        guest = registry.directory(record.name)
        _move(guest, self.directory)
        aside = guest.with_name(f"{guest.name}{registry.SPARE}d")
        shutil.rmtree(aside, ignore_errors=True)
        guest.rename(aside)
        self.directory.rename(guest)
        shutil.rmtree(aside, ignore_errors=True)
        machine.directory = guest
        if on_event:
            machine.hear(on_event)
        try:
            restore.arrive(machine, record.name, record.profile, self._platform, record.link)
        except BaseException:
            machine.kill()
            raise
        finally:
            # The directory is the guest's, and the guest has its owner.
            self._machine = None
            self._owned.close()
        return machine

    def close(self) -> None:
        """End it, if it still waits."""
        self._maker.join(_PATIENCE)
        self._release()

    def _release(self) -> None:
        machine, self._machine = self._machine, None
        if machine:
            machine.kill()
        self._owned.close()
        if self.directory.exists():
            with suppress(LabError), registry.locked(self.directory):
                registry.remove(self.directory)


def _move(source: Path, target: Path) -> None:
    """Move what is the guest's own, and not its last boot's, from its directory."""
    for path in list(source.iterdir()):
        if path.name not in _OF_A_BOOT:
            path.replace(target / path.name)
