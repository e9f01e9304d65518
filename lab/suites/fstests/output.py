# SPDX-License-Identifier: GPL-2.0-or-later
"""What fstests' `check` prints while it runs (its own `check`, functions run_section, _log_err).

A case begins with its name at the start of a line, padded, and nothing after it until it ends:
`4s ... ` where check knows how long it took the last time, then one of

    ` 5s` newline                            passed
    `[not run] ` and why, newline            declined
    `       [expunged]` newline              excluded, no case at all
    anything else                            failed; more lines may follow, and a diff that is
                                             indented by four blanks

so that only the next case, or check's summary (`Ran: `), ends a failed one for certain.
"""

import re
from collections.abc import Collection, Iterator

from lab.results.cases import CaseStatus
from lab.suites.upstream.reader import CaseEnd, CaseStart

_PASSED = re.compile(r"\s*(\d+s \.\.\. )?\s*\d+s\s*")
_NOT_RUN = re.compile(r"\s*(\d+s \.\.\. )?\s*\[not run\]\s?(?P<why>[^\n]*)")
_LAST_TIME = re.compile(r"^\s*(\d+s \.\.\. )?\s*")
_MISMATCH = re.compile(r"- output mismatch \(see [^)]*\)")
_EXPUNGED = "[expunged]"
_PIECES = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"(\S+)\s")
_SUMMARY = ("Ran: ", "Interrupted!", "Not run: ", "Failures: ", "Passed all ", "Failed ")


class FstestsReader:
    """Reads the output of a check that was told to run the cases `names`."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._line = ""
        """What there is of a line that may yet turn out to begin with the name of a case."""
        self._within = False
        """Whether what comes next continues a line."""
        self._case = ""
        self._said = ""
        """What came of the case after its name."""

    def feed(self, text: str) -> Iterator[CaseStart | CaseEnd]:
        """What the next piece of output tells."""
        for piece in _PIECES.findall(text):
            self._line += piece
            name = self._name()
            if name in self._names:
                yield from self.finish()
                self._case, self._said = name, self._line[len(name) :]
                yield CaseStart(name)
            elif not self._within and self._line.startswith(_SUMMARY):
                yield from self.finish()
            elif self._is_unclear():
                continue
            else:
                self._said += self._line
            self._within = not self._line.endswith("\n")
            self._line = ""
            yield from self._settle()

    def _name(self) -> str | None:
        """The first word of the line; None where none has ended yet, or in the middle of one."""
        word = _WORD.match(self._line)
        return word[1] if word and not self._within else None

    def _is_unclear(self) -> bool:
        """Whether the line may yet begin with the name of a case, or be the summary."""
        starts = (*self._names, *_SUMMARY)
        return not self._within and any(start.startswith(self._line) for start in starts)

    def _settle(self) -> Iterator[CaseEnd]:
        """End the case if its line says all there is to say."""
        if not self._case or not self._said.endswith("\n"):
            return
        if _EXPUNGED in self._said:
            self._case = ""
        elif _PASSED.fullmatch(self._said) or _NOT_RUN.fullmatch(self._said.rstrip("\n")):
            yield from self.finish()

    def finish(self) -> Iterator[CaseEnd]:
        """End the case that has begun, by what was said of it."""
        if self._case:
            status, reason = _judge(self._said)
            yield CaseEnd(self._case, status, reason, self._said.strip())
        self._case = self._said = ""


def _judge(said: str) -> tuple[CaseStatus, str]:
    if _PASSED.fullmatch(said):
        return CaseStatus.PASS, ""
    if found := _NOT_RUN.match(said):
        return CaseStatus.NOTRUN, found["why"].strip()
    first = _LAST_TIME.sub("", said).split("\n")[0]
    why = _MISMATCH.sub(" output mismatch", first)
    return CaseStatus.FAIL, " ".join(why.split()) or "check did not say that it passed"


def listed(said: str) -> list[str]:
    """The cases that `check -n` lists: those that it would run, in that order."""
    _, _, body = said.partition("\n\n")
    lines = (line.split() for line in body.splitlines())
    return [words[0] for words in lines if len(words) == 1 and "/" in words[0]]
