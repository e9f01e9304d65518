# SPDX-License-Identifier: GPL-2.0-or-later
"""A sitting: one command of a suite from its start to its end, and the cases it carries out."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lab.errors import GuestError
from lab.foreign import harmless
from lab.guest.kernel_words import Heard
from lab.guest.relay import File, Read
from lab.host.command import tail
from lab.results.cases import FAILURES, Case, CaseStatus, titled
from lab.suites.guest import GuestLost
from lab.suites.ledger import Ledger
from lab.suites.upstream.driver import Batch, External
from lab.suites.upstream.reader import CaseEnd, CaseStart
from lab.suites.upstream.watchdog import Watchdog

SHOWN = 16384
"""Characters of a case's output that its record has; the file has all."""

_TAIL = 20000

_REASON = 1000
"""Characters of a reason, which is a line in listings."""

_FILES, _BYTES = 128, 64 << 20
"""Files of one case that are fetched, and bytes of all of them."""

_TOLD = 20
"""Words of a suite that make no sense of which the timeline tells, of one command."""

_STOOD_STILL = 5.0
"""Seconds between two turns of who follows a suite: those take a fraction of one, if this process
is not stopped."""

_PIECE = re.compile(r"(?!\.\.?$)[\w.+,:@=~ -]*", re.ASCII)
"""What of a file's name in the guest may be in that of its copy here."""

Excuse = Callable[[Sequence[str]], str]
"""Why a case was bound to fail, by what the kernel logged while it ran; '' where it was not."""


def no_excuse(messages: Sequence[str]) -> str:
    """It was not."""
    return ""


@dataclass(frozen=True)
class FileRequest:
    """Files of a case that are to be fetched from the guest."""

    tag: str
    paths: tuple[str, ...]


@dataclass
class _Ending:
    """A case that has ended, while its evidence is still on its way."""

    ended: CaseEnd
    seconds: float
    dmesg: Heard
    files: list[str] = field(default_factory=list)
    size: int = 0
    """Bytes of these files."""
    left_out: int = 0
    """Files for which there was no room."""


class Sitting:
    """The state of a suite's command; it is told everything, and does nothing by itself but
    write down results and evidence."""

    def __init__(
        self, suite: External, batch: Batch, left: list[str], ledger: Ledger, watchdog: Watchdog,
        excuse: Excuse = no_excuse,
    ) -> None:  # fmt: skip
        self.batch = batch
        self.left = left
        """Cases without a result; those that get one are taken out."""
        self.case = ""
        """The case that runs."""
        self.exited = False
        self._suite = suite
        self._ledger = ledger
        self._watchdog = watchdog
        self._excuse = excuse
        self._reader = suite.reader(left)
        self._since = self._checked = time.monotonic()
        self._not_counted = 0.0
        """Seconds since then in which this lab was stopped."""
        self._dmesg = Heard()
        self._output = ""
        self._senseless = 0
        """Words of the suite that made no sense."""
        self._endings: dict[str, _Ending] = {}
        """By name, cases whose evidence is on its way."""
        self._dying: _Ending | None = None
        """The case that runs, once it is clear that it has no proper end."""

    @property
    def settled(self) -> bool:
        """Whether no evidence is on its way any more."""
        return not self._endings

    @property
    def title(self) -> str:
        """What listings call the case that runs."""
        return titled(self.batch.section, self.case)

    def tail(self) -> str:
        """The end of what the command said."""
        return tail(self._output)

    def read(self, text: str) -> Iterator[CaseStart | FileRequest]:
        """What the next piece of output tells: cases that begin, and files that must be fetched of
        those that did not pass.  Other results are written down."""
        self._output = (self._output + text)[-_TAIL:]
        for step in self._reader.feed(text):
            yield from self._take(step)

    def end(self, status: int) -> Iterator[CaseStart | FileRequest]:
        """The command has ended: what that tells of the case that ran."""
        self.exited = True
        for step in self._reader.finish():
            said = f"{step.output}\nthe suite ended with status {status}".strip()
            yield from self._take(CaseEnd(step.name, step.status, step.reason, said))

    def _take(self, step: CaseStart | CaseEnd) -> Iterator[CaseStart | FileRequest]:
        if not self._makes_sense(step):
            self._pass_over(step)
            return
        now, self._not_counted = time.monotonic(), 0.0
        if isinstance(step, CaseStart):
            self.case, self._since, self._dmesg = step.name, now, Heard()
            yield step
            return
        ended = replace(step, reason=step.reason[:_REASON])
        ending = _Ending(ended, now - self._since, self._dmesg)
        self.case, self._since, self._dmesg = "", now, Heard()
        if step.status in FAILURES:
            self._endings[step.name] = ending
            yield FileRequest(step.name, tuple(self._evidence(step.name)))
        else:
            self._write_down(ending)

    def _makes_sense(self, step: CaseStart | CaseEnd) -> bool:
        """Whether a case may begin or end now.  What a guest prints may say it of any, any number
        of times; each would put off the deadline, or take the result of another."""
        if isinstance(step, CaseEnd):
            return step.name == self.case != ""
        return not self.case and step.name in self.left and step.name not in self._endings

    def _pass_over(self, step: CaseStart | CaseEnd) -> None:
        """Tell that the suite says what cannot be, the first times."""
        self._senseless += 1
        if self._senseless <= _TOLD:
            said = "begins" if isinstance(step, CaseStart) else "ends"
            self._ledger.run.emit(
                "suite", "passed over", case=harmless(step.name[:_REASON]), said=said,
                while_running=self.case,
            )  # fmt: skip

    def hear(self, messages: Iterable[str]) -> None:
        """The kernel logged messages."""
        self._dmesg += messages

    def check_time(self) -> None:
        """Raises GuestLost when the case that runs is overdue, or none begins, or evidence does
        not come.  To be called at each turn: time in which that is not done does not count."""
        deadline = self._watchdog.deadline(self.title) if self.case else self._watchdog.between
        now = time.monotonic()
        if now - self._checked > _STOOD_STILL:
            self._not_counted += now - self._checked
        self._checked = now
        if now - self._since - self._not_counted > deadline:
            raise GuestLost(CaseStatus.HUNG, f"no end within {deadline:.0f} s")

    def so_far(self) -> FileRequest:
        """The files of the case that runs, which will have no proper end."""
        ended = CaseEnd(self.case, CaseStatus.HUNG, "", "")
        self._dying = _Ending(ended, time.monotonic() - self._since, self._dmesg)
        self._endings[self.case] = self._dying
        return FileRequest(self.case, tuple(self._evidence(self.case)))

    def file(self, event: object) -> None:
        """A file that was asked for has come, or all have."""
        if isinstance(event, File) and (ending := self._endings.get(event.tag)):
            try:
                name = kept(self._suite.evidence(self.batch.section, event.tag), event.path)
            except KeyError as error:
                raise GuestError(
                    f"the guest sent {event.path!r}, for which nobody asked"
                ) from error
            self._keep(ending, event.tag, name, event.data)
        elif isinstance(event, Read):
            told = self._endings.pop(event.tag, None)
            # The one without a proper end gets its result from bury().
            if told and told is not self._dying:
                self._write_down(told)

    def _keep(self, ending: _Ending, case: str, name: str, data: bytes) -> None:
        """Keep a file of a case, unless that has too many already."""
        if len(ending.files) >= _FILES or ending.size + len(data) > _BYTES:
            ending.left_out += 1
        elif self._path(case, name) not in ending.files:
            ending.size += len(data)
            ending.files.append(self._save(case, name, data))

    def bury(self, lost: GuestLost, console: str = "") -> None:
        """Give the case that ran the result of a guest that is lost, and those before it that
        still waited for evidence the result that they had.  `console` is what the dying guest said
        there."""
        self._endings.pop(self.case, None)
        for ending in self._endings.values():
            self._write_down(ending)
        self._endings.clear()
        own = self._dying or _Ending(
            CaseEnd(self.case, lost.status, "", ""), time.monotonic() - self._since, self._dmesg
        )
        if console:
            own.files.append(self._save(self.case, "console", console.encode()))
        ended = CaseEnd(self.case, lost.status, lost.reason, "")
        self._write_down(replace(own, ended=ended))

    def _write_down(self, ending: _Ending) -> None:
        ended = ending.ended
        files = ending.files
        if ended.status in FAILURES:
            if ended.output:
                files.append(self._save(ended.name, "output", ended.output.encode()))
            files.append(self._save(ended.name, "dmesg", ending.dmesg.text().encode()))
        if ending.left_out:
            self._ledger.run.emit(
                "suite", "left out", case=ended.name, files=ending.left_out,
                said=f"more than {_FILES} files or {_BYTES >> 20} MiB of one case",
            )  # fmt: skip
        case = Case(
            ended.name, ended.status, round(ending.seconds, 3), ended.reason, self.batch.section,
            self.batch.attempt, files=tuple(sorted(files)), output=ended.output[:SHOWN],
            known=self._excuse(list(ending.dmesg)) if ended.status is CaseStatus.FAIL else "",
        )  # fmt: skip
        self.left.remove(ended.name)
        self._ledger.add(case)

    def _evidence(self, name: str) -> Iterable[str]:
        """Where in the guest a case may have left something."""
        return self._suite.evidence(self.batch.section, name).values()

    def _save(self, case: str, name: str, data: bytes) -> str:
        """Keep evidence of a case in the run's directory; its path there."""
        path = self._path(case, name)
        self._ledger.run.save(path, data)
        return path

    def _path(self, case: str, name: str) -> str:
        """Where in the run's directory evidence of a case is kept."""
        repeated = f".{self.batch.attempt}" if self.batch.attempt > 1 else ""
        parts = ["cases", self.batch.section, f"{case.replace('/', '-')}{repeated}", name]
        return "/".join(filter(None, parts))


def kept(evidence: Mapping[str, str], path: str) -> str:
    """The name under which a file is kept that was found at a path in the guest (External)."""
    for name, pattern in evidence.items():
        before, star, after = pattern.partition("*")
        piece = path[len(before) : len(path) - len(after)] if star else ""
        if path == f"{before}{piece}{after}" and _PIECE.fullmatch(piece):
            return name.replace("*", piece)
    raise KeyError(path)
