# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's kernel says while something is done in it."""

import re
import secrets

from lab.guest.session import Session

_DEADLINE = 60.0

_READ = 'echo "<6>$1" >/dev/kmsg; dmesg --raw'
"""Marks are of a level that the console does not show, where they would tell nobody anything."""
_RECORD = re.compile(r"<\d+>\[ *\d+\.\d+\] ?(.*)")


class KernelLog:
    """The kernel's messages from its making on; a line of the lab's own marks the place."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._mark = ""
        self.read()

    def read(self) -> list[str]:
        """The messages since the last call, or since the beginning.  Raises GuestError."""
        before, self._mark = self._mark, f"lab: mark {secrets.token_hex(4)}"
        argv = ["sh", "-c", _READ, "sh", self._mark]
        said = lines(self._session.run(argv, deadline=_DEADLINE).stdout)
        end = said.index(self._mark) if self._mark in said else len(said)
        # Where the mark is gone, so much was said that all there is came behind it.
        start = said.index(before) + 1 if before in said else 0
        return said[start:end]


def lines(raw: str) -> list[str]:
    """The messages in what `dmesg --raw` printed."""
    return [match[1] if (match := _RECORD.match(line)) else line for line in raw.splitlines()]
