# SPDX-License-Identifier: GPL-2.0-or-later
"""The taps: what the guest's kernel, the device and the medium say of a copy, as it comes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.copy.answers import KernelAnswer, checked
from lab.copy.ground import Ask
from lab.copy.paths.traced import parse_trace
from lab.crash import writelog
from lab.crash.writelog import LogEntry
from lab.guest.kernel_words import KernelWords
from lab.results.run import Run


@dataclass
class _Tail:
    """A write log, of which so much was read already."""

    path: Path
    last: LogEntry | None = None

    def read(self) -> list[LogEntry]:
        """What has come since the last call."""
        entries = writelog.read(self.path, self.last)
        if entries:
            self.last = entries[-1]
        return entries


class Taps:
    """Those of one boot of a guest; `open` before the first case.

    `others` are the write logs of disks that data may reach beside that of `write_log`; `words`
    writes down what the kernel says.
    """

    def __init__(
        self, run: Run, trace_log: Path, write_log: Path, ask: Ask, others: Sequence[Path] = (),
        words: KernelWords | None = None,
    ) -> None:  # fmt: skip
        self._run = run
        self._words = words or KernelWords(run)
        self._trace_log = trace_log
        self._log = _Tail(write_log)
        self._others = [_Tail(path) for path in others]
        self._ask = ask
        self._trace_at = 0
        self._kmsg_seen = -1

    def open(self) -> None:
        """Begin with what comes from now on, but for the kernel's messages of the boot."""
        self.kernel_messages()
        self._trace_at = self._trace_log.stat().st_size

    def kernel_messages(self) -> list[str]:
        """The kernel's messages since the last call."""
        answer = self._ask(op="kernel.kmsg", after=self._kmsg_seen)
        records = checked(KernelAnswer, answer).records
        for sequence, level, text in records:
            self._kmsg_seen = sequence
            self._words.write(text, level=level)
        return [text for _, _, text in records]

    def trace(self) -> str:
        """What the device traced since the last call."""
        said = self.traced_since(self._trace_at)
        self._trace_at += len(said.encode(errors="surrogateescape"))
        offset = time.time() - time.monotonic()
        for line in parse_trace(said):
            self._run.emit("trace", line.event, at=line.time - offset, arguments=line.arguments)
        return said

    def trace_end(self) -> int:
        """How much was traced until now, in bytes of the log."""
        return self._trace_log.stat().st_size

    def traced_since(self, size: int) -> str:
        """What was traced behind so many bytes of the log."""
        with self._trace_log.open("rb") as file:
            file.seek(size)
            text = file.read()
        # A dying QEMU may leave half a line; a living one finishes it later.
        return text[: text.rfind(b"\n") + 1].decode(errors="surrogateescape")

    def writes(self) -> list[LogEntry]:
        """What reached the write log since the last call."""
        return self._log.read()

    def elsewhere(self) -> list[list[LogEntry]]:
        """What reached the others' write logs since the last call of this or of `forget`."""
        return [other.read() for other in self._others]

    def carrying(
        self, entries: Sequence[LogEntry], elsewhere: Sequence[Sequence[LogEntry]], mark: bytes
    ) -> int:
        """How many of these entries of the write log, and of the others', hold `mark`."""
        logs = [(self._log, entries), *zip(self._others, elsewhere, strict=True)]
        return sum(writelog.carrying(log.path, list(found), mark) for log, found in logs)

    def written(self) -> int:
        """How many writes have reached the write log since the last call of `writes`."""
        return sum(entry.length > 0 for entry in writelog.read(self._log.path, self._log.last))

    def forget(self) -> None:
        """Start observing afresh: what was logged, traced and printed so far is past."""
        for log in (self._log, *self._others):
            log.read()
        self.trace()
        self.kernel_messages()
