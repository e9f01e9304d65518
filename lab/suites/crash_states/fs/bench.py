# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that works on file systems, and looks at what power cuts left; some of it ends it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.errors import GuestError, HostError
from lab.guest.executor import Executor
from lab.guest.kmsg import fatal
from lab.results.cases import CaseStatus
from lab.suites.crash_states.fs.disk import StateDisk
from lab.suites.crash_states.fs.history import Step
from lab.suites.crash_states.fs.kinds import FileSystemKind
from lab.suites.crash_states.fs.reads import DiskReads
from lab.suites.guest import GuestLost, RunGuest
from lab.vm.disks import EmulatedDisk

PROGRAM = ("/run/lab/bin/crashfs",)

_BLOCK = 4096


class StepRefused(Exception):
    """The file system does not offer an operation, and said so."""


class FsBench:
    """The guest's end, and the disk below it.

    Media lie in the guest's directory: with a guest whose lab was killed they are swept.
    """

    def __init__(self, own: RunGuest, disk: EmulatedDisk) -> None:
        self.own = own
        self.scratch = own.guest.directory / "states"
        self.scratch.mkdir(exist_ok=True)
        self._disk = disk
        self._executor: Executor | None = None
        self._states: StateDisk | None = None
        self._reads: DiskReads | None = None
        self._size = 0
        self._number = 0

    def _connect(self) -> Executor:
        """Start the program in a guest that was just booted."""
        if self._executor is None:
            self.own.listen()
            self._executor = Executor(self.own.connect(), PROGRAM)
            self._states = StateDisk(self.own.guest.machine, self._disk.drive)
            self._size = self._disk.drive.size
            self._executor.request(self.own.speed.patience, op="settle")
            self._reads = DiskReads(self.own.guest.machine)
        return self._executor

    def ask(self, **request: object) -> dict[str, Any]:
        """The answer to a request.

        Raises GuestLost where the guest ended or hung over it, GuestError where the lab failed.
        """
        executor = self._connect()
        try:
            executor.send(**request)
            answer = executor.answer(self.own.speed.patience)
        except GuestError as error:
            raise self.own.gone(error) from error
        if answer is None:
            within = self.own.speed.patience
            raise self.own.overdue(f"{request['op']}: no answer within {within:.0f} s")
        heard = tuple(answer.pop("kernel", ()))
        if trouble := next((line for line in heard if fatal(line)), ""):
            raise GuestLost(CaseStatus.CRASHED, trouble, heard + tuple(self.own.aftermath()))
        return answer

    def lose(self) -> None:
        """Give up a guest that is of no use any more; the next request boots it again."""
        self._executor = None
        self.own.lose()

    def put(self, medium: Path, log: Path | None = None) -> None:
        """Let the disk be this file."""
        self._connect()
        assert self._states
        self._states.put(medium, log)
        if (size := medium.stat().st_size) != self._size:
            self.ask(op="rescan", node=self._disk.node)
            self._size = size

    def path(self, name: str) -> Path:
        """A new file's path: QEMU holds a lock on the one that it has."""
        self._number += 1
        return self.scratch / f"{name}-{self._number}"

    def make(self, kind: FileSystemKind, setup: Sequence[Step]) -> Path:
        """A medium with a file system that holds what a workload needs, cleanly unmounted.

        Raises StepRefused, GuestLost and GuestError.
        """
        made = self.path(kind.name)
        with made.open("wb") as file:
            os.truncate(file.fileno(), kind.size)
        self.put(made)
        done = self.ask(
            op="run", argv=[*kind.make, self._disk.node], within=self.own.speed.patience
        )
        if done["status"]:
            raise GuestError(f"{' '.join(kind.make)}: exit status {done['status']}: {done['said']}")
        self.mount(kind)
        for step in setup:
            self.carry_out(step)
        self.must(op="umount")
        base = self.path("base")
        _sparse(made, base)
        made.unlink()
        return base

    def mount(self, kind: FileSystemKind, more: str = "") -> None:
        """Mount what is on the disk, which must be whole; `more` are options."""
        options = ",".join(filter(None, (kind.options, more)))
        self.must(op="mount", node=self._disk.node, type=kind.type, options=options)

    def carry_out(self, step: Step) -> None:
        """Have a step carried out.  Raises StepRefused, when the file system is unmounted again."""
        answer = self.ask(op="do", step=dict(step))
        if answer["errno"]:
            self.must(op="umount")
            raise StepRefused(f"{step['do']}: {answer['said']}")

    def must(self, **request: object) -> None:
        """Ask for what must succeed.  Raises GuestError."""
        answer = self.ask(**request)
        if answer["errno"]:
            raise GuestError(f"{request}: {answer['said']}")

    def judge(self, kind: FileSystemKind, medium: Path) -> tuple[dict[str, Any], frozenset[int]]:
        """What a guest finds that mounts a medium, reads it, writes to it, and has it checked; and
        the sectors that it has read before it wrote to them."""
        self.put(medium)
        assert self._reads
        self._reads.drop()
        answer = self.ask(
            op="judge", node=self._disk.node, type=kind.type, options=kind.options,
            check=list(kind.check), within=self.own.speed.patience,
        )  # fmt: skip
        return answer, self._reads.take()


def _sparse(source: Path, target: Path) -> None:
    """Copy a file without what is zero in it: it is copied for each state."""
    try:
        with source.open("rb") as old, target.open("wb") as new:
            new.truncate(source.stat().st_size)
            at = 0
            while data := old.read(_BLOCK):
                if data != bytes(len(data)):
                    new.seek(at)
                    new.write(data)
                at += len(data)
    except OSError as error:
        raise HostError(f"{target}: {error.strerror}") from error
