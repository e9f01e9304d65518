# SPDX-License-Identifier: GPL-2.0-or-later
"""How a QEMU ended, and its last words, as they are found in its directory."""

import contextlib
import signal
import time
from pathlib import Path

from lab.foreign import end_of
from lab.host.command import tail
from lab.vm.argv import CONSOLE_LOG

STDERR, EXIT_STATUS = "qemu.err", "exit-status"
OUT_OF_MEMORY = "oom-kills"
"""What the supervisor writes down: how many processes the host's kernel had killed for want of
memory when QEMU began, and when it had ended (oom_kill in /proc/vmstat)."""


def said(directory: Path) -> str:
    """The end of QEMU's stderr and of the guest's console, as found in a guest's directory."""
    parts = []
    for title, name, lines in (("stderr", STDERR, 5), ("console", CONSOLE_LOG, 12)):
        with contextlib.suppress(FileNotFoundError):
            text = end_of(directory / name)
            if text.strip():
                parts += [f"{title}:", tail(text, lines)]
    return "\n".join(parts)


def exit_status(directory: Path) -> int | None:
    """QEMU's exit status, as a shell counts it, if its supervisor recorded it."""
    end = time.monotonic() + 1.0  # the supervisor writes it just after QEMU is gone
    while not (directory / EXIT_STATUS).exists() and time.monotonic() < end:
        time.sleep(0.01)
    try:
        return int((directory / EXIT_STATUS).read_text())
    except (FileNotFoundError, ValueError):
        return None


def ending(directory: Path) -> str:
    """How QEMU ended, in words."""
    status = exit_status(directory)
    if status is None:
        return "is gone; its exit status was not recorded"
    if status == 128 + signal.SIGSYS:
        return f"was killed by signal {status - 128} (SIGSYS): its sandbox denies what it tried"
    if status == 128 + signal.SIGKILL and _out_of_memory(directory):
        return f"was killed by signal {status - 128}, as the host had run out of memory"
    if status > 128:
        return f"was killed by signal {status - 128}"
    return f"ended with exit status {status}"


def _out_of_memory(directory: Path) -> bool:
    """Whether the host's kernel killed processes for want of memory while QEMU ran."""
    try:
        before, after = map(int, (directory / OUT_OF_MEMORY).read_text().split())
    except (OSError, ValueError):
        return False
    return after > before
