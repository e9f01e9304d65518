# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest says of one case, of which no more is kept than its beginning and its end."""

import re
from collections.abc import Iterator
from io import StringIO

HALF = 1 << 19
"""Characters that are kept of the beginning, and as many at least of the end."""

_PIECES = re.compile(r"[^\n]*\n|[^\n]+")


def pieces(text: str) -> Iterator[str]:
    """The lines of a text with their ends, one by one, the last without if it has none: a list of
    the lines of a flood would take much more memory than the flood."""
    return (found[0] for found in _PIECES.finditer(text))


class Said:
    """A text that grows, and whose middle is left out where it grows too long."""

    def __init__(self) -> None:
        self._first = StringIO()
        self._room = HALF
        self._before = ""
        """The part of the end that is complete; what comes next is gathered in `_last`."""
        self._last = StringIO()
        self._dropped = 0

    def add(self, text: str) -> None:
        """Something more is said."""
        self._first.write(text[: self._room])
        rest, self._room = text[self._room :], self._room - min(self._room, len(text))
        if not rest:
            return
        self._dropped += max(0, len(rest) - HALF)
        self._last.write(rest[-HALF:])
        if self._last.tell() >= HALF:
            self._dropped += len(self._before)
            self._before, self._last = self._last.getvalue(), StringIO()

    @property
    def beginning(self) -> str:
        """The first characters, HALF at most."""
        return self._first.getvalue()

    def text(self) -> str:
        """All of it, or what is kept, with a line in the place of what is not."""
        end = self._before + self._last.getvalue()
        if not self._dropped:
            return self.beginning + end
        return f"{self.beginning}\n[lab: {self._dropped} characters are left out]\n{end}"
