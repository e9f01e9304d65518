# SPDX-License-Identifier: GPL-2.0-or-later
"""A session of gdb on a guest's kernel, from its symbols to the guest's going on."""

import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.guest import debugger
from lab.guest.guest import Guest
from lab.host import dirs
from lab.host.command import missing, uninterrupted
from lab.inside import gdb, kernelinfo, symbols

Progress = Callable[[str], None]


def debug(guest: Guest, given: Path | None, progress: Progress) -> Callable[[Sequence[str]], int]:
    """Find all that gdb needs to know of a guest's kernel; the function that runs it, with more
    words, and returns its exit status.

    Raises UsageError where a request is held, or there are no symbols, and HostError.
    """
    gdb.require_nothing_held(guest)
    record = guest.record
    where = symbols.find(record.profile.kernel, record.kernel, progress, given)
    vmlinux = gdb.vmlinux_in(where, record.kernel)
    progress("ask where the kernel is")
    offset = kernelinfo.load_offset(kernelinfo.fields(guest))
    # A build directory has lx-symbols, which does it for modules that are loaded later too.
    scripts = vmlinux.with_name(gdb.SCRIPTS).is_file()
    modules = {} if scripts else gdb.files_of(gdb.loaded_modules(guest), where)

    def run(words: Sequence[str]) -> int:
        # Once more: finding symbols can have taken minutes.
        gdb.require_nothing_held(guest)
        with debugger.stub(guest) as socket, dirs.short(socket.parent) as short:
            argv = gdb.argv(vmlinux, str(short / socket.name), offset, modules, words)
            return _run(argv, int(short.name))

    return run


def _run(argv: Sequence[str], directory: int) -> int:
    """gdb on this terminal; its exit status.  Ctrl-C is gdb's own: by that it stops the guest."""
    # A handler, and not SIG_IGN, which gdb would inherit.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    process = None
    try:
        with uninterrupted():
            process = subprocess.Popen(argv, pass_fds=(directory,))
        return process.wait()
    except FileNotFoundError:
        raise missing("gdb") from None
    finally:
        if process:
            process.kill()
            process.wait()
        signal.signal(signal.SIGINT, before)
