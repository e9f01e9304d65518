# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's gdbstub: started while somebody debugs a guest's kernel, and gone after.

A debugger stops the machine, and one that is killed leaves it stopped: whoever comes to the guest
next, a lab that was killed itself not excepted, has it go on.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.errors import HostError, UsageError
from lab.guest.guest import Guest
from lab.host.process import Process, me
from lab.vm.machine import Machine

SOCKET = "gdb.sock"
"""In the guest's directory."""
_OWNER = "gdb.json"
_STOPPED = ("paused", "debug")
"""States of a machine that a debugger stopped (qapi/run-state.json, RunState)."""


@contextmanager
def stub(guest: Guest) -> Iterator[Path]:
    """Have QEMU listen for a debugger, in a `with` block; the socket's path.  In the end the guest
    runs on.

    Raises UsageError when somebody debugs the guest already, HostError with QEMU's words.
    """
    directory, machine = guest.directory, guest.machine
    release(directory, machine)
    if owner := _owner(directory):
        raise UsageError(
            f"guest {guest.record.name} is debugged already, by process {owner.pid}",
            hint="end that gdb first",
        )
    _claim(directory)
    try:
        (directory / SOCKET).unlink(missing_ok=True)
        said = _stub(machine, f"unix:{SOCKET},server=on,wait=off")
        if not (directory / SOCKET).exists():
            raise HostError("QEMU starts no gdbstub", detail=said)
        yield directory / SOCKET
    finally:
        _end(directory, machine)


def release(directory: Path, machine: Machine) -> bool:
    """Have a guest go on whose debugger, and the lab that started it, are gone; whether there was
    one.  Raises HostError with QEMU's words."""
    if not (directory / _OWNER).exists() or _owner(directory):
        return False
    _end(directory, machine)
    return True


def _end(directory: Path, machine: Machine) -> None:
    """End the stub, and have the machine go on."""
    if machine.alive():
        _stub(machine, "none")
        if machine.execute("query-status")["status"] in _STOPPED:
            machine.execute("cont")
    for name in (SOCKET, _OWNER):
        (directory / name).unlink(missing_ok=True)


def _stub(machine: Machine, where: str) -> str:
    """Start, or end, the stub; what QEMU says."""
    line = f"gdbserver {where}"
    return str(machine.execute("human-monitor-command", {"command-line": line})).strip()


def _claim(directory: Path) -> None:
    process = me()
    (directory / _OWNER).write_text(f"{process.pid} {process.started}\n")


def _owner(directory: Path) -> Process | None:
    """The lab whose debugger has the guest, if it is alive."""
    with suppress(OSError, ValueError):
        pid, started = map(int, (directory / _OWNER).read_text().split())
        if (process := Process(pid, started)).alive():
            return process
    return None
