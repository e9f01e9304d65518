# SPDX-License-Identifier: GPL-2.0-or-later
"""One case of fsx: operations on a file, each checked against the model, and the verdict."""

import errno
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.suites.fsx.client import Exerciser
from lab.suites.fsx.model import FileModel, Mismatch, exact
from lab.suites.fsx.operations import BLOCK, Operation, draw

_FROM_THE_MEDIUM = 40
"""Operations after which the file is read from the medium, and not from the page cache."""

_LOST_ENOUGH = 20
"""Operations that may fail after a shutdown before the rest is spared."""

_REFUSALS = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EXDEV})
"""How a file system says, the first time that it is asked, that it has no such operation."""


class FileMismatch(Exception):
    """The file is not what it must be, or an operation failed that must not."""


@dataclass
class Log:
    """What was done and answered, in JSON lines; a case can be replayed from it."""

    lines: list[str] = field(default_factory=list)

    def add(self, number: int, operation: Operation, answer: dict[str, Any]) -> None:
        """An operation has been answered."""
        self.lines.append(
            json.dumps({"number": number, "request": operation.request(), "answer": answer})
        )

    def text(self) -> str:
        """The whole log."""
        return "\n".join([*self.lines, ""])


@dataclass
class Course:
    """How a case goes.

    `replayed` are the operations of an earlier one; without them they are drawn.  `shut_down` is
    called once, before operation `at`.
    """

    exerciser: Exerciser
    numbers: random.Random
    ops: int
    kinds: Sequence[str]
    replayed: Sequence[Operation] = ()
    shut_down: Callable[[], None] | None = None
    at: int = 0
    model: FileModel = field(default_factory=FileModel)
    log: Log = field(default_factory=Log)
    refused: dict[str, str] = field(default_factory=dict)
    """What the file system does not offer, and how it said so."""
    worked: set[str] = field(default_factory=set)
    """Kinds of operations that have succeeded."""

    def run(self) -> None:
        """Carry all out.  Raises FileMismatch, and what the exerciser raises."""
        self.exerciser.request({"op": "open", "fresh": True})
        failures = 0
        down = False
        for number, operation in self._operations():
            if self.shut_down and number == self.at:
                self.shut_down()
                down = True
            failures += not self._carry_out(number, operation, down=down)
            if failures >= _LOST_ENOUGH:
                return
            if not down:
                self._check(number, operation)

    def _operations(self) -> Iterator[tuple[int, Operation]]:
        if self.replayed:
            yield from enumerate(self.replayed, 1)
            return
        for number in range(1, self.ops + 1):
            kinds = [kind for kind in self.kinds if kind not in self.refused]
            yield number, draw(self.numbers, len(self.model.content), kinds)

    def _carry_out(self, number: int, operation: Operation, *, down: bool) -> bool:
        """Whether an operation succeeded, as far as it must."""
        answer = self.exerciser.request(operation.request())
        self.log.add(number, operation, answer)
        if not answer["errno"]:
            done = answer.get("done", 0)
            if operation.kind in ("write", "copy") and not 0 < done <= operation.length:
                raise FileMismatch(f"operation {number}, {operation}: {done} bytes done")
            self.model.apply(operation, done)
            self.worked.add(operation.kind)
            return True
        if down:
            self.model.failed(operation)
            return False
        if operation.kind not in ("write", *self.worked) and answer["errno"] in _REFUSALS:
            self.refused[operation.kind] = answer["said"]
            return True
        raise FileMismatch(f"operation {number}, {operation}: {answer['said']}")

    def _check(self, number: int, operation: Operation) -> None:
        drop = number % _FROM_THE_MEDIUM == 0 or number == (len(self.replayed) or self.ops)
        answer = self.exerciser.request({"op": "sums", "drop": drop})
        if answer["errno"]:
            raise FileMismatch(f"after operation {number}, {operation}: {answer['said']}")
        if drop:
            self.model.apply(Operation("fsync"), 0)
        if found := self.model.mismatch(answer["size"], answer["sums"]):
            where = self._exactly(found)
            source = ", read from the medium" if drop else ""
            raise FileMismatch(f"operation {number}, {operation}{source}: {where}")

    def _exactly(self, found: Mismatch) -> Mismatch:
        """The mismatch to the byte, if it is one of content."""
        wanted = self.model.content[found.at : found.end]
        if found.end - found.at > BLOCK or len(wanted) != found.end - found.at:
            return found
        return exact(self.exerciser.bytes_at(found.at, len(wanted)), wanted, found.at)
