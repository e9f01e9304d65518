# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites that are scripts of the lab's own: what they say between two marks belongs to a case.

== NAME begins
== NAME ends STATUS      as a shell counts it
"""

import re
from collections.abc import Callable, Iterator

from lab.results.cases import CaseStatus
from lab.suites.upstream.reader import CaseEnd, CaseStart
from lab.suites.upstream.said import Said, pieces

_MARK = re.compile(r"== (?P<name>\S{1,255}) (?:begins|ends (?P<status>\d{1,3}))\n")
_LONGEST = 512
"""Characters of a mark at most."""

Judge = Callable[[str, int, str], CaseEnd]
"""What a case comes to, by its name, its exit status and what it said."""


class MarkReader:
    """Reads the output of such a script."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._said = Said()
        """What was said since the last mark."""
        self._line = ""
        """The end of that, which may yet turn out to be a mark."""
        self._case = ""

    def feed(self, text: str) -> Iterator[CaseStart | CaseEnd]:
        """What the next piece of output tells."""
        for piece in pieces(text):
            self._line += piece
            if mark := _MARK.search(self._line):
                self._said.add(self._line[: mark.start()])
                before, self._said, self._line = self._said.text(), Said(), ""
                if mark["status"] is None:
                    self._case = mark["name"]
                    yield CaseStart(self._case)
                else:
                    self._case = ""
                    yield self._judge(mark["name"], int(mark["status"]), before)
            else:
                kept = 0 if piece.endswith("\n") else _LONGEST
                cut = max(0, len(self._line) - kept)
                self._said.add(self._line[:cut])
                self._line = self._line[cut:]

    def finish(self) -> Iterator[CaseEnd]:
        """The script has ended: what ran cannot have come to its end."""
        if self._case:
            self._said.add(self._line)
            yield CaseEnd(self._case, CaseStatus.FAIL, "it was ended", self._said.text())
            self._case = ""
