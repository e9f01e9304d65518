# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies recorded: carried out in a guest, with marks that tie them to its disk's write log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.copy.answers import StatusAnswer, checked
from lab.copy.ground import MediumGround
from lab.copy.model import Completion
from lab.copy.paths.base import CopyPath
from lab.copy.paths.instrument import Subject
from lab.crash.logfile import position
from lab.crash.marks import ACKNOWLEDGED, DURABLE, STARTED, LogMark, mark
from lab.errors import GuestError
from lab.guest.executor import Executor
from lab.suites.crash_states.copies import CopyOperation
from lab.suites.crash_states.recording import CopyRecording, Plant, extract
from lab.suites.guest import RunGuest

_DEADLINE = 120.0
"""Seconds that a copy or a flush may take."""


class CopyFailed(Exception):
    """A copy ended with an error although nothing was in its way."""


class CopyRecorder:
    """Carries copies out in a guest that is up."""

    def __init__(self, own: RunGuest, path: CopyPath) -> None:
        self._run = own.run
        self._path = path
        session = own.connect()
        own.bring_up()
        self._executor = Executor(session)
        directory = own.guest.directory
        self._medium = directory / path.drive.medium
        self._log = directory / path.drive.write_log
        self._instrument = path.on(Subject(self._ask, self._medium))
        self._start = 0
        self._marks: list[LogMark] = []

    def record(
        self, operations: Sequence[CopyOperation], target: Path, plant: Plant | None
    ) -> CopyRecording:
        """Carry the operations out, one after the other, and write what the device got to `target`.

        Raises CopyFailed and GuestError.
        """
        for operation in operations:
            window = operation.layout.window
            MediumGround(self._medium).write(window.start, operation.tagging.data())
        self._start = position(self._log)
        self._marks = []
        open_: list[CopyOperation] = []
        for operation in operations:
            self._copy(operation)
            open_.append(operation)
            if operation.flushed:
                self._flush()
                self._promise(open_)
                open_ = []
        recording = CopyRecording(operations, self._marks, self._path.drive.medium_size)
        extract(self._log, self._start, position(self._log), target, recording, plant)
        return recording

    def _copy(self, operation: CopyOperation) -> None:
        self._mark(STARTED, operation)
        completion = self._end(self._ask(**self._path.request(operation.layout.copy)))
        if not completion.succeeded:
            raise CopyFailed(f"{operation.name}: {completion}, although nothing was in its way")
        self._mark(ACKNOWLEDGED, operation)
        if self._path.durable:
            self._promise([operation])

    def _end(self, answer: dict[str, Any]) -> Completion:
        return self._instrument.completion(answer)

    def _flush(self) -> None:
        drive = self._path.drive
        answer = self._ask(op="nvme.flush", serial=drive.serial, nsid=drive.nsid)
        if status := checked(StatusAnswer, answer).status:
            raise GuestError(f"a flush failed with status {status:#x}")

    def _promise(self, operations: Sequence[CopyOperation]) -> None:
        promised = {each.operation for each in self._marks if each.event == DURABLE}
        for operation in operations:
            if operation.number not in promised:
                self._mark(DURABLE, operation)

    def _mark(self, event: str, operation: CopyOperation) -> None:
        found = mark(event, operation.number, position(self._log) - self._start)
        self._marks.append(found)
        self._run.emit("lab", "mark", at=found.at, mark=found.document())

    def _ask(self, **request: object) -> dict[str, Any]:
        return self._executor.request(_DEADLINE, **request)
