"""The taps: what the guest's kernel, the device and the medium say of a copy, as it comes."""

import time
from pathlib import Path

from lab.copy.ground import Ask
from lab.copy.paths.nvme import parse_trace
from lab.crash import writelog
from lab.crash.writelog import Entry
from lab.results.run import Run


class Taps:
    """Those of one boot of a guest; `open` before the first case."""

    def __init__(self, run: Run, trace_log: Path, write_log: Path, ask: Ask) -> None:
        self._run = run
        self._trace_log = trace_log
        self._write_log = write_log
        self._ask = ask
        self._trace_at = 0
        self._last_entry: Entry | None = None
        self._kmsg_seen = -1

    def open(self) -> None:
        """Begin with what comes from now on, but for the kernel's messages of the boot."""
        self.kernel_messages()
        self._trace_at = self._trace_log.stat().st_size

    def kernel_messages(self) -> list[str]:
        """The kernel's messages since the last call."""
        answer = self._ask(op="kmsg", after=self._kmsg_seen)
        for sequence, level, text in answer["records"]:
            self._kmsg_seen = sequence
            self._run.emit("kernel", "message", level=level, text=text)
        return [text for _, _, text in answer["records"]]

    def trace(self) -> str:
        """What the device traced since the last call."""
        with self._trace_log.open("rb") as file:
            file.seek(self._trace_at)
            text = file.read()
        # A dying QEMU may leave half a line; a living one finishes it later.
        text = text[: text.rfind(b"\n") + 1]
        self._trace_at += len(text)
        said = text.decode(errors="replace")
        offset = time.time() - time.monotonic()
        for line in parse_trace(said):
            self._run.emit("trace", line.event, at=line.time - offset, arguments=line.arguments)
        return said

    def writes(self) -> list[Entry]:
        """What reached the write log since the last call."""
        entries = writelog.read(self._write_log, self._last_entry)
        if entries:
            self._last_entry = entries[-1]
        return entries

    def written(self) -> int:
        """How many writes have reached the write log since the last call of `writes`."""
        return sum(entry.length > 0 for entry in writelog.read(self._write_log, self._last_entry))

    def forget(self) -> None:
        """Start observing afresh: what was logged, traced and printed so far is past."""
        self.writes()
        self.trace()
        self.kernel_messages()
