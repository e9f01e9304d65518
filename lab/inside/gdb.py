# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb on a guest's kernel: what it is told, and when it must not be let near."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import GuestError, UsageError
from lab.faults.byhand import Hand
from lab.guest.guest import Guest

SCRIPTS = "vmlinux-gdb.py"
"""In a build directory: what makes the lx- commands (Linux, Documentation/process/debugging)."""

_SECTIONS = (
    'for at in /sys/module/*/sections/.text; do [ -e "$at" ] || continue; m=${at#/sys/module/}; '
    'echo "${m%%/*} $(cat "$at")"; done'
)
_DEADLINE = 30.0


def require_nothing_held(guest: Guest) -> None:
    """Raise UsageError where a request is held, or would be: the stop that a debugger begins with
    drains, and so hangs QEMU for good."""
    status = Hand(guest).status()
    if status.state != "nothing":
        name = guest.record.name
        raise UsageError(
            f"guest {name}: {status.point or 'a request'} of {status.disk} is {status.state}, and "
            "gdb stops the machine, which waits for that request and so hangs QEMU for good",
            hint=f"lab drgn {name} looks at the kernel as it is now; or lab fault {name} release",
        )


def vmlinux_in(symbols: Path, release: str) -> Path:
    """The kernel with debugging information, in a build directory or what is laid out as
    /usr/lib/debug.  Raises UsageError where there is none."""
    places = (symbols / "vmlinux", symbols / f"boot/vmlinux-{release}")
    for place in places:
        if place.is_file():
            return place
    raise UsageError(f"{symbols}: no vmlinux", hint=f"looked for {' and '.join(map(str, places))}")


def loaded_modules(guest: Guest) -> dict[str, int]:
    """Where the guest's modules are, by name; none where it does not answer."""
    try:
        with guest.connect() as session:
            said = session.run(["sh", "-c", _SECTIONS], deadline=_DEADLINE).stdout
    except GuestError:
        return {}
    pairs = (line.split() for line in said.splitlines())
    return {name: int(at, 16) for name, at in pairs}


def argv(
    vmlinux: Path, socket: str, offset: int, modules: Mapping[Path, int], more: Sequence[str]
) -> list[str]:
    """gdb's command line: the kernel at its offset, its scripts where the tree has them, modules by
    their files and addresses, and what the user adds."""
    words = ["gdb", "-q", "-iex", "set pagination off"]
    scripts = vmlinux.with_name(SCRIPTS)
    if scripts.is_file():
        words += ["-iex", f"add-auto-load-safe-path {vmlinux.parent}"]
    words += ["-ex", f"symbol-file -o {offset:#x} {vmlinux}"]
    if scripts.is_file():
        words += ["-ex", f"source {scripts}"]
    for file, at in sorted(modules.items()):
        words += ["-ex", f"add-symbol-file {file} {at:#x}"]
    return [*words, "-ex", f"target remote {socket}", "-ex", "set pagination on", *more]


def files_of(modules: Mapping[str, int], symbols: Path) -> dict[Path, int]:
    """The files with the debugging information of those modules, as far as there are any; names
    have dashes in files where the kernel has underscores."""
    found = {}
    for path in symbols.rglob("*.ko"):
        name = path.stem.replace("-", "_")
        if name in modules:
            found[path] = modules[name]
    return found
