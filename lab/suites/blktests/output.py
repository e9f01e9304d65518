# SPDX-License-Identifier: GPL-2.0-or-later
"""What blktests' `check` prints while it runs (its own `check`, functions _output_status,
_output_test_run, _call_test, _run_group).

A test has a run for each device and condition, and each run has two headings: one when it begins,
and one with its status when it ends, where what else there is to say follows, indented:

    nvme/005 => nvme0n1 (tr=loop) (reset local loopback target)
    nvme/005 => nvme0n1 (tr=loop) (reset local loopback target)  [failed]
        runtime    ...  1.3s
        --- tests/nvme/005.out  …

In place of the device stand several, or nothing; in place of the condition often nothing.  Only the
next heading ends what is said of a run.  A test that declines may have the second heading alone.
Of a whole group, or of all its tests on one device, it says `nvme/***  [not run]` and why: no word
of the single tests follows.  A test that needs a device where there is none is passed over without
any word, and so is one whose script ends before its first heading; what bash says of that, and
check's own complaints, stand between the others, not indented.  When check comes to its end, the
lab's command says so (END).
"""

import re
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from lab.results.cases import CaseStatus
from lab.suites.upstream.reader import CaseEnd, CaseStart
from lab.suites.upstream.said import Said, pieces

END = "check ended with status"
"""What the lab's command says behind check, with the status."""

_END = re.compile(rf"{END} (?P<status>\d{{1,3}})")
_HEADING = re.compile(
    r"(?P<name>[^\s/]+/(?:\d{3}|\*\*\*)) (?:=> (?P<devices>[^\s([]+(?: [^\s([]+)*) ?)?"
    r"(?P<words>\(.*\))?"
    r" *(?:\[(?P<status>passed|failed|not run)\])?"
)
_METRIC = re.compile(r"    \S.*  \.\.\.(  .*)?")
"""A value that a test measured: before, `...`, now."""
_COMPLAINT = re.compile(r"\S*check: .+")
"""An error, or a warning."""
_INDENTED = " " * 4
_WHOLE_GROUP = "***"
_STATUS = {"passed": CaseStatus.PASS, "failed": CaseStatus.FAIL, "not run": CaseStatus.NOTRUN}
_SILENT = "check passed over it"
_UNCLEAR = "check did not say how it ended"
_LONGEST = 4096
"""Characters of a line; what is behind them is left out."""
_MOST = 500
"""Lines that are kept to say why a test did not pass, or was passed over."""


@dataclass
class _Run:
    """A run of a test, or what is said of a whole group."""

    of: str
    """Device and condition, as check names them."""
    status: CaseStatus | None = None
    said: list[str] = field(default_factory=list)
    """Indented lines after the heading, the first of them."""

    def why(self) -> str:
        """Why it did not pass, in a line."""
        said = [line.strip() for line in self.said if not _METRIC.fullmatch(line)]
        if self.status is CaseStatus.NOTRUN:
            reason = "; ".join(said)
        elif self.status is CaseStatus.FAIL:
            reason = _why_failed(said)
        else:
            reason = _UNCLEAR
        return f"{self.of}: {reason}" if self.of else reason


@dataclass
class _Test:
    """A test, or a whole group, of which check speaks.

    Of its runs only those are kept that say what came of it all: there may be any number.
    """

    name: str
    said: Said = field(default_factory=Said)
    run: _Run | None = None
    """The run of which check speaks."""
    failed: _Run | None = None
    """The first run before it that failed."""
    declined: _Run | None = None
    """The first one that was not run."""
    passed: bool = False
    """Whether one passed."""

    def heading(self, line: str, of: str, status: CaseStatus | None) -> None:
        """A run begins, or ends."""
        self.said.add(f"{line}\n")
        if self.run is None or self.run.status is not None or status is None:
            self._count()
            self.run = _Run(of)
        self.run.status = status

    def _count(self) -> None:
        """No more is said of the run."""
        if self.run is None:
            return
        if self.run.status is CaseStatus.PASS:
            self.passed = True
        elif self.run.status is CaseStatus.NOTRUN:
            self.declined = self.declined or self.run
        else:
            self.failed = self.failed or self.run
        self.run = None

    def say(self, line: str) -> None:
        """Something else is said."""
        self.said.add(f"{line}\n")
        if self.run and line.startswith(_INDENTED) and len(self.run.said) < _MOST:
            self.run.said.append(line)

    def end(self) -> CaseEnd:
        """What came of it: failed if a run did, not run if none was, and why of the first run that
        did not pass."""
        self._count()
        if self.failed:
            status, why = CaseStatus.FAIL, self.failed.why()
        elif self.declined and not self.passed:
            status, why = CaseStatus.NOTRUN, self.declined.why()
        else:
            status = CaseStatus.PASS
            why = f"not run: {self.declined.why()}" if self.declined else ""
        return CaseEnd(self.name, status, why, self.said.text().removesuffix("\n"))


class BlktestsReader:
    """Reads the output of a check that was told to run the tests `names`."""

    def __init__(self, names: Collection[str]) -> None:
        self._left = sorted(names)
        """Tests of which there has been no word."""
        self._line = ""
        self._test: _Test | None = None
        """What check speaks of."""
        self._groups = {name.partition("/")[0] for name in names}
        self._last = ""
        """The test, or group, of which check spoke last."""
        self._spoken = {""}
        """All of which it has spoken."""
        self._strays: deque[tuple[str, str]] = deque(maxlen=_MOST)
        """The last lines that are neither headings nor indented, and what was spoken of last."""
        self._unfit: dict[str, list[str]] = {}
        """By group, why devices are none for it."""

    def feed(self, text: str) -> Iterator[CaseStart | CaseEnd]:
        """What the next piece of output tells."""
        for piece in pieces(text):
            self._line = (self._line + piece.removesuffix("\n"))[:_LONGEST]
            if piece.endswith("\n"):
                line, self._line = self._line, ""
                yield from self._read(line)

    def _read(self, line: str) -> Iterator[CaseStart | CaseEnd]:
        if end := _END.fullmatch(line):
            yield from self._end(int(end["status"]))
        elif (heading := _HEADING.fullmatch(line)) and self._is_known(heading["name"]):
            yield from self._take(line, heading)
        else:
            if line.strip() and not line.startswith(_INDENTED):
                self._strays.append((self._last, line))
            if self._test:
                self._test.say(line)

    def finish(self) -> Iterator[CaseEnd]:
        """Check has ended, and did not come to its end: the test that ran has failed, and of those
        that are left nothing is known."""
        test, self._test = self._test, None
        if test and not test.name.endswith(_WHOLE_GROUP):
            said = test.end()
            why = said.reason if said.status is CaseStatus.FAIL else _UNCLEAR
            yield CaseEnd(test.name, CaseStatus.FAIL, why, said.output)

    def _is_known(self, name: str) -> bool:
        speaking = self._test and self._test.name
        group, _, number = name.partition("/")
        whole = number == _WHOLE_GROUP and group in self._groups
        return name == speaking or name in self._left or whole

    def _take(self, line: str, heading: re.Match[str]) -> Iterator[CaseStart | CaseEnd]:
        name, status = heading["name"], _STATUS.get(heading["status"] or "")
        if self._test is None or name != self._test.name or name.endswith(_WHOLE_GROUP):
            yield from self._close()
            self._test = _Test(name)
            self._last = name
            self._spoken.add(name)
            if name in self._left:
                self._left.remove(name)
                yield CaseStart(name)
        of = [heading["devices"], condition(heading["words"] or "")]
        self._test.heading(line.rstrip(), ", ".join(filter(None, of)), status)

    def _close(self) -> Iterator[CaseStart | CaseEnd]:
        """No more is said of the test, or of the group."""
        test, self._test = self._test, None
        if test is None:
            return
        group, _, number = test.name.partition("/")
        if number != _WHOLE_GROUP:
            yield test.end()
        elif test.run and test.run.of:
            unfit = self._unfit.setdefault(group, [])
            if len(unfit) < _MOST:
                unfit.append(test.run.why())
        elif test.run:
            for name in [name for name in self._left if name.startswith(f"{group}/")]:
                yield from self._decline(name, test.run.why())

    def _decline(self, name: str, why: str) -> Iterator[CaseStart | CaseEnd]:
        self._left.remove(name)
        yield CaseStart(name)
        yield CaseEnd(name, CaseStatus.NOTRUN, why, "")

    def _end(self, status: int) -> Iterator[CaseStart | CaseEnd]:
        """Check has come to its end, unless it ended with an error before any test."""
        yield from self._close()
        complained = bool(self._strays) and _COMPLAINT.fullmatch(self._strays[-1][1])
        if status == 0 or (status == 1 and (len(self._spoken) > 1 or not complained)):
            for name in list(self._left):
                yield from self._decline(name, self._why_silent(name))

    def _why_silent(self, name: str) -> str:
        """Why check said nothing of a test: a complaint that names it, the devices that are none
        for its group, or what was said behind the test before it."""
        named = [line for _, line in self._strays if name in line]
        unfit = self._unfit.get(name.partition("/")[0], [])
        before = max(spoken for spoken in self._spoken if spoken < name)
        near = [
            line for after, line in self._strays if after == before and not _COMPLAINT.match(line)
        ]
        return "; ".join(named or unfit) or ": ".join([_SILENT, *near[-1:]])


def condition(words: str) -> str:
    """The condition in `(condition) (description)`; empty where there is a description alone.

    Each may have parentheses of its own, in pairs.
    """
    depth = 0
    for place, letter in enumerate(words):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return words[1:place] if words[place + 1 :].startswith(" (") else ""
    return ""


def _why_failed(said: list[str]) -> str:
    """What the lines after `[failed]` say in a word (_call_test in check)."""
    if any(line.startswith("--- tests/") for line in said):
        return "output mismatch"
    return said[0].removesuffix(":") if said else "failed"
