# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's kernel says on its console, for whoever waits for what may never come."""

import os
import re
from pathlib import Path

_STAMP = re.compile(r"\[ *\d+\.\d{6}\](?:\[ *[CT]\d+\])? ")
"""What the kernel puts before each message: the time, and with CONFIG_PRINTK_CALLER who spoke.  It
need not begin a line: before the first message stands the prompt of the console's shell."""


_MOST = 1 << 20
"""Bytes that are looked at at once: of a guest that says more, the last ones."""


class Console:
    """What a guest says on its console from its boot on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""

    def news(self) -> list[str]:
        """The messages since the last look."""
        try:
            with self._path.open("rb") as file:
                # Shorter than before: it was cut since it had become too long.
                size = file.seek(0, os.SEEK_END)
                self._at = max(self._at if self._at <= size else 0, size - _MOST)
                file.seek(self._at)
                new = file.read(_MOST)
        except FileNotFoundError:
            return []
        self._at += len(new)
        *lines, rest = (self._rest + new).split(b"\n")
        self._rest = rest[-_MOST:]
        return [unstamped(line.decode(errors="replace")) for line in lines]


def unstamped(line: str) -> str:
    """A line of a console without the time that the kernel puts before each message."""
    return _STAMP.split(line.strip(), 1)[-1]
