# SPDX-License-Identifier: GPL-2.0-or-later
"""How a QEMU ended, and its last words, as they are found in its directory."""

import contextlib
import time
from pathlib import Path

from lab.host.command import tail
from lab.vm.argv import CONSOLE_LOG

STDERR, EXIT_STATUS = "qemu.err", "exit-status"


def said(directory: Path) -> str:
    """The end of QEMU's stderr and of the guest's console, as found in a guest's directory."""
    parts = []
    for title, name, lines in (("stderr", STDERR, 5), ("console", CONSOLE_LOG, 12)):
        with contextlib.suppress(FileNotFoundError):
            text = (directory / name).read_text(errors="replace")
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
    if status > 128:
        return f"was killed by signal {status - 128}"
    return f"ended with exit status {status}"
