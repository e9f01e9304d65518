# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU traces of the disks of a guest while states are judged and workloads recorded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lab.crash.joint import WRITTEN
from lab.suites.crash_states.fs.reads import READ, WRITE
from lab.vm.argv import TRACE_LOG
from lab.vm.machine import Machine
from lab.vm.trace import TraceLine, parse


class DiskTrace:
    """QEMU's trace log, read piece by piece: the commands that its SCSI disks get."""

    def __init__(self, machine: Machine) -> None:
        """Begin to trace.  Raises HostError where this QEMU does not."""
        self._machine = machine
        machine.trace((READ, WRITE, WRITTEN))
        machine.trace_again((WRITTEN,), wanted=False)
        self._log = machine.directory / TRACE_LOG
        self._position = 0
        self.drop()

    def drop(self) -> None:
        """Forget what was traced so far."""
        self._position = max(self._position, self._log.stat().st_size)
        # QEMU goes on at its own place: what is before that is a hole then.
        os.truncate(self._log, 0)

    def take(self) -> list[TraceLine]:
        """What was traced since.  Raises HostError."""
        with self._log.open("rb") as file:
            file.seek(self._position)
            text = file.read().decode(errors="replace")
        self.drop()
        return parse(text)

    @contextmanager
    def of_files(self) -> Iterator[None]:
        """Trace what is written to files too, as long as the block lasts.  Raises HostError."""
        # Without the proof that the log works, which would read over the hole at its beginning.
        self._machine.trace_again((WRITTEN,))
        self.drop()
        yield
        # A guest that is lost takes its trace with it; and to go on with it does no harm.
        self._machine.trace_again((WRITTEN,), wanted=False)
