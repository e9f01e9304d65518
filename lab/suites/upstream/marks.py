# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites that are scripts of the lab's own: what they say between two marks belongs to a case.

== NAME begins
== NAME ends STATUS      as a shell counts it
"""

import re
from collections.abc import Callable, Iterator

from lab.results.cases import CaseStatus
from lab.suites.upstream.reader import CaseEnd, CaseStart

_MARK = re.compile(r"== (?P<name>\S+) (?:begins|ends (?P<status>\d+))\n")

Judge = Callable[[str, int, str], CaseEnd]
"""What a case comes to, by its name, its exit status and what it said."""


class MarkReader:
    """Reads the output of such a script."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._said = ""
        self._case = ""

    def feed(self, text: str) -> Iterator[CaseStart | CaseEnd]:
        """What the next piece of output tells."""
        self._said += text
        while mark := _MARK.search(self._said):
            before, self._said = self._said[: mark.start()], self._said[mark.end() :]
            if mark["status"] is None:
                self._case = mark["name"]
                yield CaseStart(self._case)
            else:
                self._case = ""
                yield self._judge(mark["name"], int(mark["status"]), before)

    def finish(self) -> Iterator[CaseEnd]:
        """The script has ended: what ran cannot have come to its end."""
        if self._case:
            yield CaseEnd(self._case, CaseStatus.FAIL, "it was ended", self._said)
            self._case = ""
