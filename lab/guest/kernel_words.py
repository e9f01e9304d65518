# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's kernel says, in the timeline and of one case: of a flood a part is kept."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from lab.guest.kmsg import fatal
from lab.results.run import Run

CASE = 2 << 20
"""Bytes of the timeline that the kernel's messages may take in one case, or between two."""

_LINE = 128
"""Bytes of a line of the timeline beside its text."""

HALF = 1 << 19
"""Characters of the messages that are kept of the beginning of a case, and as many of its end."""

_LONGEST = 8192
"""Characters of a message: a record of /dev/kmsg has no more bytes
(Linux kernel/printk/internal.h, PRINTK_MESSAGE_MAX and what is put before it)."""

_FATAL = 20
"""Messages that end a case, which are kept wherever they stand."""


class KernelWords:
    """Writes the kernel's messages of one guest into the timeline, as long as there is room for
    them: in a case, and in the run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._case = ""
        self._begin()

    def _begin(self) -> None:
        self._room = CASE
        self._fatal = _FATAL
        self._left_out = 0

    def of(self, case: str) -> None:
        """What comes now is of a case, by its number or title, or of none ('')."""
        if case == self._case:
            return
        self.end()
        self._case = case
        self._begin()

    def end(self) -> None:
        """Tell how many messages were left out."""
        if self._left_out:
            self._note(f"lab: {self._left_out} messages of the kernel were left out")
            self._left_out = 0

    def write(self, text: str, **more: Any) -> str:
        """Write a message down, or count it; its text, no longer than one may be.  What says that
        the kernel is lost is written down though there is no room."""
        text = text[:_LONGEST]
        size = len(json.dumps(text)) + _LINE
        if size <= self._room and self._run.has_room(size):
            self._room -= size
        elif self._fatal and fatal(text):
            self._fatal -= 1
        else:
            if not self._left_out:
                self._note("lab: the kernel says too much, and is not written down any more")
            self._left_out += 1
            return text
        self._run.emit("kernel", "message", **more, text=text)
        return text

    def _note(self, text: str) -> None:
        self._run.emit("kernel", "message", text=text)


class Heard:
    """The kernel's messages while one thing goes on: the first and the last of them, and what says
    in between that the kernel is lost."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._room = HALF
        self._fatal: list[str] = []
        self._last: deque[str] = deque()
        self._size = 0
        self._dropped = 0

    def __iadd__(self, messages: Iterable[str]) -> "Heard":
        # One by one: those that came before an error are heard.
        for text in messages:
            self._add(text[:_LONGEST])
        return self

    def _add(self, text: str) -> None:
        size = len(text) + _LINE
        if self._room >= size:
            self._room -= size
            self._first.append(text)
            return
        self._room = 0
        self._last.append(text)
        self._size += size
        while self._size > HALF:
            dropped = self._last.popleft()
            self._size -= len(dropped) + _LINE
            if fatal(dropped) and len(self._fatal) < _FATAL:
                self._fatal.append(dropped)
            else:
                self._dropped += 1

    def __iter__(self) -> Iterator[str]:
        yield from self._first
        if self._dropped:
            yield f"lab: {self._dropped} messages of the kernel are left out here"
        yield from self._fatal
        yield from self._last

    def text(self) -> str:
        """A line for each."""
        return "\n".join([*self, ""])
