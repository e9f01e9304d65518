# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that works on file systems, and looks at what power cuts left; some of it ends it."""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.errors import GuestError, HostError
from lab.foreign import decoded, tamed
from lab.guest.executor import Executor, Reply
from lab.guest.kmsg import fatal
from lab.host.clone import write_sparse
from lab.results.cases import CaseStatus
from lab.suites.crash_states.fs.disk import MediumPart, StateDisk
from lab.suites.crash_states.fs.history import Step
from lab.suites.crash_states.fs.kinds import FileSystemKind
from lab.suites.crash_states.fs.reads import read_of
from lab.suites.crash_states.fs.trace import DiskTrace
from lab.suites.guest import GuestLost, RunGuest
from lab.vm.disks import EmulatedDisk

PROGRAM = ("/run/lab/bin/crashfs",)

_PIECE, _SECTOR = 1 << 20, 512
_LONGEST = 512 << 20
"""Characters of an answer at most: all that is on the largest medium, as text."""

_MISSING = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS})
"""Errors that say that there is no such operation."""
_UNFIT = frozenset({"falloc", "clone", "dedupe", "direct"})
"""Operations that a file system may want in units of its own, or only of some files: EINVAL."""


class StepRefused(Exception):
    """An operation fails on a file system that is whole, which said why."""


class StepMissing(StepRefused):
    """The file system does not offer an operation, and said so."""


class FsBench:
    """The guest's end, and the disks below it.

    Media lie in the guest's directory: with a guest whose lab was killed they are swept.  That of
    a file system over several disks is one file, of which each has a part.  `reorder` is what the
    layer of dm-reorder on the only disk is called, if there is one.
    """

    def __init__(self, own: RunGuest, disks: Sequence[EmulatedDisk], reorder: str = "") -> None:
        self.own = own
        self.scratch = own.guest.directory / "states"
        self.scratch.mkdir(exist_ok=True)
        self._disks = tuple(disks)
        self._reorder = reorder
        self._executor: Executor | None = None
        self._states: list[StateDisk] = []
        self._trace: DiskTrace | None = None
        self._sizes: list[int] = []
        self._number = 0

    def _connect(self) -> Executor:
        """Start the program in a guest that was just booted."""
        if self._executor is None:
            self.own.listen()
            self._executor = Executor(self.own.connect(), PROGRAM)
            machine = self.own.guest.machine
            self._states = [StateDisk(machine, disk.drive) for disk in self._disks]
            self._sizes = [disk.drive.size for disk in self._disks]
            self._executor.request(self.own.speed.patience, op="settle")
            self._trace = DiskTrace(machine)
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
        return whole(answer, lambda at: self.ask(op="rest", at=at))

    def lose(self) -> None:
        """Give up a guest that is of no use any more; the next request boots it again."""
        self._executor = None
        self.own.lose()

    def nodes(self, kind: FileSystemKind) -> list[str]:
        """The disks of a file system, as the guest has them."""
        return [disk.node for disk in self._disks[: kind.disks]]

    def put(self, kind: FileSystemKind, medium: Path, logs: Sequence[Path] = ()) -> None:
        """Let the disks of a file system be the parts of this file; a log for each, if any."""
        self._connect()
        if self._reorder:
            # Once it is that of the profile, over what the disk was then.
            self.must(op="release", place=self._place(kind))
        for number, node in enumerate(self.nodes(kind)):
            part = MediumPart(medium, number * kind.size, kind.size)
            self._states[number].put(part, logs[number] if logs else None)
            if kind.size != self._sizes[number]:
                self.ask(op="rescan", node=node)
                self._sizes[number] = kind.size

    def ring(self, kind: FileSystemKind, medium: Path) -> None:
        """Have each disk write something, one after the other, that changes nothing: that tells
        their logs apart.  Raises HostError."""
        with medium.open("rb") as file:
            for number, disk in enumerate(self._disks[: kind.disks]):
                file.seek(number * kind.size)
                if any(file.read(_SECTOR)):
                    raise HostError(f"{kind.name}: the first sector of disk {number} is in use")
                machine = self.own.guest.machine
                machine.qemu_io(disk.drive.qdev, f"write -P 0 0 {_SECTOR}")
                machine.qemu_io(disk.drive.qdev, "flush")

    def cache(self, kind: FileSystemKind, *, volatile: bool) -> None:
        """Have the kernel take the disks' caches for what a power cut loses, or not."""
        for node in self.nodes(kind):
            self.must(op="cache", node=node, volatile=volatile)

    @property
    def trace(self) -> DiskTrace:
        """What QEMU tells of the disks."""
        self._connect()
        assert self._trace
        return self._trace

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
            os.truncate(file.fileno(), kind.disks * kind.size)
        self.put(kind, made)
        for argv in kind.made(self.nodes(kind), self._reorder):
            done = self.ask(op="run", argv=argv, within=self.own.speed.patience)
            if done["status"]:
                raise GuestError(f"{' '.join(argv)}: exit status {done['status']}: {done['said']}")
        self.must(op="release", place=self._place(kind))
        self.mount(kind)
        for step in setup:
            self.carry_out(kind, step)
        self.umount(kind)
        base = self.path("base")
        _sparse(made, base)
        made.unlink()
        return base

    def mount(self, kind: FileSystemKind, more: str = "") -> None:
        """Mount what is on the disks, which must be whole; `more` are options."""
        options = ",".join(filter(None, (kind.options, more)))
        self.must(op="mount", place=self._place(kind), type=kind.type, options=options)

    def umount(self, kind: FileSystemKind) -> None:
        """Unmount it, and take its disks apart."""
        self.must(op="umount", place=self._place(kind))

    def _place(self, kind: FileSystemKind) -> dict[str, Any]:
        return kind.place(self.nodes(kind), self._reorder)

    def carry_out(self, kind: FileSystemKind, step: Step) -> None:
        """Have a step carried out.  Raises StepRefused, when the file system is unmounted again,
        and StepMissing."""
        answer = self.ask(op="do", step=dict(step))
        if answer["errno"]:
            if self.ask(op="umount", place=self._place(kind))["errno"]:
                # What fails so that it cannot be unmounted may not be what is judged next.
                self.lose()
            raise refusal(step, answer)

    def must(self, **request: object) -> None:
        """Ask for what must succeed.  Raises GuestError."""
        answer = self.ask(**request)
        if answer["errno"]:
            raise GuestError(f"{request}: {answer['said']}")

    def judge(self, kind: FileSystemKind, medium: Path) -> tuple[dict[str, Any], frozenset[int]]:
        """What a guest finds that mounts a medium, reads it, writes to it, and has it checked; and
        the sectors of the medium that it has read before it wrote to them.  A guest that cannot
        let go of it is given up."""
        self.put(kind, medium)
        self.trace.drop()
        # Without dm-reorder: what it had put off went with the power.
        place = kind.place(self.nodes(kind))
        answer = self.ask(
            op="judge", place=place, type=kind.type, options=kind.options,
            check=list(kind.check), within=self.own.speed.patience,
        )  # fmt: skip
        sectors = kind.size // self._disks[0].drive.block_size
        read = read_of(self.trace.take(), kind.disks, sectors)
        if answer["held"]:
            self.lose()
        return answer, read


def refusal(step: Step, answer: Mapping[str, Any]) -> StepRefused:
    """What it means that a step has failed, which the model allows."""
    number = answer["errno"]
    missing = number in _MISSING or (number == errno.EINVAL and step["do"] in _UNFIT)
    said = f"{step['do']} {step.get('path', '')}".rstrip()
    return (StepMissing if missing else StepRefused)(f"{said}: {answer['said']}")


def whole(answer: dict[str, Any], rest: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """An answer, which was fetched in pieces if it is longer than a line.  `rest` asks for the
    piece that begins with a character.  Raises GuestError where they are none."""
    length = answer.get("longer")
    if length is None:
        return answer
    if not isinstance(length, int) or length > _LONGEST:
        raise GuestError(f"the guest has an answer of {length} characters, not {_LONGEST} at most")
    text = ""
    while len(text) < length:
        piece = rest(len(text))["piece"]
        if not piece:
            raise GuestError(f"the guest's answer ends behind {len(text)} of {length} characters")
        text += piece
    try:
        return Reply(tamed(decoded(text)))
    except (ValueError, TypeError) as error:
        raise GuestError(f"the guest's answer of {length} characters is none: {error}") from error


def _sparse(source: Path, target: Path) -> None:
    """Copy a file without what is zero in it: it is copied for each state."""
    try:
        with source.open("rb") as old, target.open("wb") as new:
            new.truncate(source.stat().st_size)
            while data := old.read(_PIECE):
                write_sparse(new, data)
    except OSError as error:
        raise HostError(f"{target}: {error.strerror}") from error
