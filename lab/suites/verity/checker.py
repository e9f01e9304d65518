# SPDX-License-Identifier: GPL-2.0-or-later
"""The checker in the guest: programs, reads and writes, and what the kernel says of each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.copy.ground import errno_name
from lab.guest.executor import Executor
from lab.guest.session import Session

PROGRAM = ("/run/lab/bin/checker",)

_GRACE = 15.0
"""Seconds on top of a request's own deadline, for its way there and back."""


class CheckerTimeout(Exception):
    """A request has no answer within its deadline."""


class CheckFailure(Exception):
    """Something is not as it must be: the case fails."""


@dataclass(frozen=True)
class ProgramEnd:
    """How a program in the guest ended, and what the kernel logged meanwhile."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    kernel: tuple[str, ...]

    @property
    def user(self) -> str:
        """What reached user space, in a line, without a reminder of how a program is called."""
        lines = (self.stderr or self.stdout).splitlines()
        return " ".join(
            " ".join(line.split()) for line in lines if not line.startswith(("Usage:", "  "))
        )

    def only_in_log(self) -> tuple[str, ...]:
        """Messages of the kernel whose text is not in what user space was told."""
        return tuple(line for line in self.kernel if line.split(": ")[-1] not in self.user)


@dataclass(frozen=True)
class BlockReading:
    """What several readers got of every block: for each reader the CRC-32 of each block, or
    -errno where it could not be read."""

    sums: tuple[tuple[int, ...], ...]
    kernel: tuple[str, ...]


class Checker:
    """guest-scripts/suites/checker; it ends with its session.

    `deadline` is in seconds, for each request.
    """

    def __init__(self, session: Session, deadline: float) -> None:
        self._executor = Executor(session, PROGRAM)
        self._deadline = deadline
        self._overdue = False
        self.said: list[str] = []
        """What was asked and answered since this was last emptied, for the case's evidence."""
        self.heard: list[str] = []
        """What the kernel logged since then."""

    def run(self, *argv: str, text: str | None = None, extra: float = 0.0) -> ProgramEnd:
        """Run a program to its end, whatever that is; it may take `extra` seconds more."""
        deadline = self._deadline + extra
        answer = self._ask(deadline, op="run", argv=argv, deadline=deadline, text=text)
        said = ProgramEnd(
            argv, answer["status"], answer["stdout"], answer["stderr"], tuple(answer["kernel"])
        )
        self.said.append(f"$ {' '.join(argv)}\n{said.stdout}{said.stderr}status {said.status}")
        return said

    def must(self, *argv: str, text: str | None = None, extra: float = 0.0) -> ProgramEnd:
        """Run a program that must end well.  Raises CheckFailure with what it and the kernel
        said."""
        said = self.run(*argv, text=text, extra=extra)
        if said.status:
            kernel = "".join(f"; kernel: {line}" for line in said.only_in_log())
            raise CheckFailure(f"{' '.join(argv)}: exit status {said.status}: {said.user}{kernel}")
        return said

    def read(
        self, node: str, size: int, count: int, readers: int = 1, *, first: int = 0
    ) -> BlockReading:
        """Have readers read `count` blocks of `size` bytes, all at once."""
        answer = self._ask(
            self._deadline * readers, op="read", node=node, size=size, first=first, count=count,
            readers=readers,
        )  # fmt: skip
        sums = tuple(tuple(one) for one in answer["sums"])
        self.said.append(f"read {count} blocks of {size} bytes of {node}: {errors(sums[0])}")
        return BlockReading(sums, tuple(answer["kernel"]))

    def write(self, node: str, size: int, count: int, fill: str, writers: int = 1) -> None:
        """Have writers write blocks that hold what `filled` says.  Raises CheckFailure when one
        cannot be written."""
        answer = self._ask(
            self._deadline * writers, op="write", node=node, size=size, count=count, fill=fill,
            writers=writers,
        )  # fmt: skip
        self.said.append(f"write {count} blocks of {size} bytes of {node}")
        if failed := answer["errors"]:
            raise CheckFailure(f"{node}: blocks that could not be written, with errno: {failed}")

    def _ask(self, within: float, **request: Any) -> dict[str, Any]:
        if self._overdue:
            # What keeps the guest from that answer would keep it from this one.
            raise CheckerTimeout("an earlier request has no answer yet")
        self._executor.send(**request)
        answer = self._executor.answer(within + _GRACE)
        if answer is None:
            self._overdue = True
            raise CheckerTimeout(f"no answer to {request['op']} within {within:.0f} s")
        self.heard += answer["kernel"]
        self.said += [f"kernel: {line}" for line in answer["kernel"]]
        return answer


def told(messages: Sequence[str]) -> list[str]:
    """Messages of the kernel, each once, with how often it came."""
    counted = Counter(messages)
    return [line + (f" ({number} times)" if number > 1 else "") for line, number in counted.items()]


def errors(sums: Sequence[int]) -> str:
    """The blocks that could not be read, in words."""
    found: dict[int, list[int]] = {}
    for block, value in enumerate(sums):
        if value < 0:
            found.setdefault(-value, []).append(block)
    words = [f"{errno_name(number)} at {spans(blocks)}" for number, blocks in found.items()]
    return "; ".join(words) or "all read"


def spans(blocks: Sequence[int]) -> str:
    """Numbers in ascending order as spans: `3, 5-9`."""
    runs: list[list[int]] = []
    for block in blocks:
        if runs and runs[-1][1] == block - 1:
            runs[-1][1] = block
        else:
            runs.append([block, block])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def differences(found: Sequence[int], wanted: Sequence[int]) -> str:
    """What is wrong with sums that were read, in words; '' if nothing is."""
    wrong: dict[str, list[int]] = {}
    for block, (got, expected) in enumerate(zip(found, wanted, strict=True)):
        if got != expected:
            wrong.setdefault(_difference(got, expected), []).append(block)
    return "; ".join(f"block {spans(blocks)}: {what}" for what, blocks in wrong.items())


def _difference(got: int, expected: int) -> str:
    if expected < 0:
        come = errno_name(-got) if got < 0 else "could be read"
        return f"{come}, expected {errno_name(-expected)}"
    if got < 0:
        return f"{errno_name(-got)}, expected to be read"
    return "is not what it must be"


def failing(sums: Sequence[int], blocks: Mapping[int, int]) -> list[int]:
    """The sums with those of some blocks replaced by -errno."""
    return [-blocks[block] if block in blocks else value for block, value in enumerate(sums)]
