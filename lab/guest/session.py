# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection to a guest, kept open, over which programs are started there.

There are two kinds: SSH, and the port on which the guest's agent answers.  argv lists all the way.
"""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from lab.errors import GuestError, GuestGone
from lab.host.patience import Patience
from lab.host.process import Process

_MOST = 64 << 20
"""Bytes of a command's output: what is longer comes in files, or from a guest that floods."""

_WRITE = 'mkdir -p "${1%/*}" && cat >"$1"'


class Channel(Protocol):
    """The pipes of a program in the guest."""

    @property
    def closed(self) -> bool:
        """Whether nothing goes either way any more."""

    @property
    def eof_received(self) -> int | bool:
        """Whether nothing more comes."""

    def settimeout(self, timeout: float | None, /) -> None:
        """After how many seconds what follows raises TimeoutError; None: never."""

    def sendall(self, data: bytes, /) -> None:
        """Give bytes to its stdin.  Raises OSError."""

    def shutdown_write(self) -> None:
        """End its stdin.  Raises OSError."""

    def recv(self, size: int, /) -> bytes:
        """Bytes of its stdout, so many at most; b'' at the end."""

    def recv_ready(self) -> bool:
        """Whether it has said something to stdout."""

    def recv_stderr(self, size: int, /) -> bytes:
        """Bytes of its stderr, so many at most; b'' at the end."""

    def recv_stderr_ready(self) -> bool:
        """Whether it has said something to stderr."""

    def exit_status_ready(self) -> bool:
        """Whether it has ended, or will never tell."""

    def recv_exit_status(self) -> int:
        """Its status, once it has ended; -1 if that was never told."""

    def close(self) -> None:
        """Let go of it; it finds its pipes closed."""


@dataclass(frozen=True)
class Result:
    """How a command in the guest ended."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def require_success(self) -> None:
        """Raise GuestError unless the exit status is 0."""
        # pytest shows the line of the test instead.
        __tracebackhide__ = True
        if self.status != 0:
            raise GuestError(
                f"exit status {self.status} in the guest: {shlex.join(self.argv)}",
                detail=self.stderr or self.stdout,
            )


class Session(ABC):
    """A connection to a guest; use it as a context manager."""

    process: Process | None = None
    """The guest's QEMU, where that is known: a deadline does not pass while it has no processor."""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether neither end has closed it."""

    @abstractmethod
    def channel(self, argv: Sequence[str]) -> Channel:
        """Start a command; the channel to it.  Raises GuestError."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; the guest is not touched."""

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: float,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> Result:
        """Run a command to its end, with `stdin` to read unless that is None.

        Raises GuestError when it takes longer than `deadline` seconds, when the guest goes
        away, and, if `check`, when its exit status is not 0.
        """
        channel = self.channel(argv)
        patience = Patience(self.process, deadline)
        try:
            if stdin is not None:
                _provide(channel, argv, stdin, deadline)
            result = _collect(channel, tuple(argv), patience)
        finally:
            channel.close()
        # Over SSH, one that a signal ended has no status either.
        if result.status < 0 and not self.is_open:
            raise GuestGone(f"the guest went away, or its agent, during: {shlex.join(argv)}")
        if check:
            result.require_success()
        return result

    def write(self, path: str, text: str, *, deadline: float = 60.0) -> None:
        """Write a file, and make the directory that it is to be in.  Raises GuestError."""
        self.run(["sh", "-c", _WRITE, "sh", path], deadline=deadline, stdin=text.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _provide(channel: Channel, argv: Sequence[str], stdin: bytes, deadline: float) -> None:
    """Have a command read `stdin` to its end; one that does not wait for it is its own affair."""
    channel.settimeout(deadline)
    try:
        channel.sendall(stdin)
        channel.shutdown_write()
    except TimeoutError as error:
        raise GuestError(f"no end within its deadline in the guest: {shlex.join(argv)}") from error
    except OSError:
        return


def _collect(channel: Channel, argv: tuple[str, ...], patience: Patience) -> Result:
    out, err = bytearray(), bytearray()
    channel.settimeout(0.05)
    # Both streams must be drained while it runs: either, when full, would stop the command.
    while not (channel.closed or (channel.exit_status_ready() and channel.eof_received)):
        _drain(channel, out, err)
        if patience.over():
            raise GuestError(f"no end within its deadline in the guest: {shlex.join(argv)}")
    while channel.recv_ready() or channel.recv_stderr_ready():
        _drain(channel, out, err)
    return Result(
        argv, channel.recv_exit_status(), out.decode(errors="replace"), err.decode(errors="replace")
    )


def _drain(channel: Channel, out: bytearray, err: bytearray) -> None:
    if len(out) + len(err) > _MOST:
        raise GuestError(f"a command in the guest says more than {_MOST >> 20} MiB")
    if channel.recv_stderr_ready():
        err += channel.recv_stderr(65536)
    try:
        out += channel.recv(65536)
    except TimeoutError:
        return
