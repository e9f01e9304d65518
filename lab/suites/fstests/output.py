# SPDX-License-Identifier: GPL-2.0-or-later
"""What fstests' `check` prints while it runs (its own `check`, functions run_section, _log_err).

A case begins with its name at the start of a line, padded, and nothing after it until it ends:
`4s ... ` where check knows how long it took the last time, then one of

    ` 5s` newline                            passed
    `[not run] ` and why, newline            declined
    `       [expunged]` newline              excluded by the tree's or the user's lists
    anything else                            failed; more lines may follow, and a diff that is
                                             indented by four blanks

so that only the next case, or check's summary (`Ran: `), ends a failed one for certain.
"""

import re
from collections.abc import Collection, Iterator

from lab.results.cases import CaseStatus
from lab.suites.upstream.reader import CaseEnd, CaseStart
from lab.suites.upstream.said import Said, pieces

# No two parts of these match the same characters, so that they take time in proportion.
_LAST_TIME = re.compile(r"\d+s \.\.\. ")
_PASSED = re.compile(r"\d+s")
_NOT_RUN = re.compile(r"\[not run\]\s?(?P<why>.*)")
_MISMATCH = re.compile(r"- output mismatch \(see [^)]*\)")
_EXPUNGED = "[expunged]"
_WORD = re.compile(r"(\S+)\s")
_SUMMARY = ("Ran: ", "Interrupted!", "Not run: ", "Failures: ", "Passed all ", "Failed ")
_LONGEST = 4096
"""Characters of the line that says how a case ended; of more there is no need."""


class FstestsReader:
    """Reads the output of a check that was told to run the cases `names`."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._line = ""
        """What there is of a line that may yet turn out to begin with the name of a case."""
        self._within = False
        """Whether what comes next continues a line."""
        self._case = ""
        self._begin("")

    def _begin(self, case: str) -> None:
        """A case begins, or none ('')."""
        self._case = case
        self._said = Said()
        """What came of the case after its name."""
        self._verdict = ""
        """The first line of that which is not empty, as far as it came."""
        self._settled = False
        """Whether that line has come to its end."""

    def feed(self, text: str) -> Iterator[CaseStart | CaseEnd]:
        """What the next piece of output tells."""
        for piece in pieces(text):
            self._line += piece
            name = self._name()
            said = ""
            if name in self._names:
                yield from self.finish()
                self._begin(name)
                said = self._line[len(name) :]
                yield CaseStart(name)
            elif not self._within and self._line.startswith(_SUMMARY):
                yield from self.finish()
            elif self._is_unclear():
                continue
            else:
                said = self._line
            self._within = not self._line.endswith("\n")
            self._line = ""
            yield from self._take(said)

    def _name(self) -> str | None:
        """The first word of the line; None where none has ended yet, or in the middle of one."""
        word = None if self._within else _WORD.match(self._line)
        return word[1] if word else None

    def _is_unclear(self) -> bool:
        """Whether the line may yet begin with the name of a case, or be the summary."""
        if self._within or self._line.endswith("\n"):
            return False
        return any(start.startswith(self._line) for start in (*self._names, *_SUMMARY))

    def _take(self, said: str) -> Iterator[CaseEnd]:
        """Something is said of the case; end it if its line says all there is to say."""
        if not self._case:
            return
        self._said.add(said)
        if self._settled:
            return
        self._verdict = (self._verdict + said).lstrip()[:_LONGEST]
        if not self._verdict or not said.endswith("\n"):
            return
        self._settled = True
        line = self._verdict.rstrip()
        if _judge(line)[0] is not CaseStatus.FAIL:
            yield from self.finish()

    def finish(self) -> Iterator[CaseEnd]:
        """End the case that has begun, by what was said of it."""
        if self._case:
            status, reason = _judge(self._verdict.rstrip())
            if status is CaseStatus.FAIL:
                reason = _why_failed(self._said.beginning)
            yield CaseEnd(self._case, status, reason, self._said.text().strip())
        self._begin("")


def _judge(line: str) -> tuple[CaseStatus, str]:
    """What the line behind the name of a case says, and why where that is all it says."""
    line = _without_time(line)
    if _PASSED.fullmatch(line):
        return CaseStatus.PASS, ""
    if line == _EXPUNGED:
        return CaseStatus.NOTRUN, "expunged"
    if found := _NOT_RUN.fullmatch(line):
        return CaseStatus.NOTRUN, found["why"].strip()
    return CaseStatus.FAIL, ""


def _why_failed(said: str) -> str:
    first, _, _ = _without_time(said).partition("\n")
    why = _MISMATCH.sub(" output mismatch", first[:_LONGEST])
    return " ".join(why.split()) or "check did not say that it passed"


def _without_time(said: str) -> str:
    """What is said behind how long the case took the last time."""
    said = said.lstrip()
    found = _LAST_TIME.match(said)
    return said[found.end() :].lstrip() if found else said


def listed(said: str) -> list[str]:
    """The cases that `check -n` lists: those that it would run, in that order."""
    _, _, body = said.partition("\n\n")
    lines = (line.split() for line in body.splitlines())
    return [words[0] for words in lines if len(words) == 1 and "/" in words[0]]
