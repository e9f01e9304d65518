# SPDX-License-Identifier: GPL-2.0-or-later
"""A channel over a guest's port: a program that the agent started, or a request to the agent."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lab.foreign import decoded, tamed
from lab.guest.frames import PIECE, WINDOW, BadFrame, Frame, FrameKind

_MOST = 4 * WINDOW
"""Bytes that are kept of a program's output: a window for each stream, and some to spare."""


def _number(payload: bytes) -> int:
    if len(payload) > 8:
        raise BadFrame(f"a number of {len(payload)} bytes")
    return int.from_bytes(payload)


class PortChannel:
    """A program that the agent started for this process; see session.Channel."""

    def __init__(
        self, changed: threading.Condition, send: Callable[[FrameKind, bytes], None]
    ) -> None:
        """`changed` is notified, by whoever holds it, when something has come for any channel;
        `send` has a frame of this one sent, for which it does not wait, and raises OSError."""
        self.eof_received = False
        self.answer: tuple[FrameKind, Any] | None = None
        """What the agent itself answered."""
        self._send = send
        self._out, self._err = bytearray(), bytearray()
        self._status: int | None = None
        self._credit = WINDOW
        self._timeout: float | None = None
        self._gone = False
        self._changed = changed

    @property
    def closed(self) -> bool:
        """Nothing goes either way any more."""
        return self._gone or (self._status is not None and self.eof_received)

    def take(self, frame: Frame) -> None:
        """A frame of this channel has come; `changed` is held.  Raises BadFrame."""
        match frame.kind:
            case FrameKind.DATA:
                self._out += self._within(frame.payload)
            case FrameKind.STDERR:
                self._err += self._within(frame.payload)
            case FrameKind.EOF:
                self.eof_received = True
            case FrameKind.CREDIT:
                self._credit = min(self._credit + _number(frame.payload), WINDOW)
            case FrameKind.EXIT if self._status is None:
                self._status = _number(frame.payload)
            case FrameKind.ANSWER | FrameKind.REFUSED if self.answer is None:
                try:
                    self.answer = frame.kind, tamed(decoded(frame.payload))
                except ValueError as error:
                    raise BadFrame(f"an answer that is no JSON: {error}") from error

    def _within(self, payload: bytes) -> bytes:
        """The bytes, where the agent may send so many before any are taken."""
        if len(self._out) + len(self._err) + len(payload) > _MOST:
            raise BadFrame("more bytes than were asked for")
        return payload

    def lose(self) -> None:
        """The connection is gone; `changed` is held."""
        self._gone = self.eof_received = True

    def settimeout(self, timeout: float | None, /) -> None:
        """After how many seconds what follows raises TimeoutError; None: never."""
        self._timeout = timeout

    def sendall(self, data: bytes, /) -> None:
        """Give bytes to its stdin.  Raises OSError when the connection is gone, TimeoutError when
        the program does not take them."""
        at = 0
        while at < len(data):
            with self._changed:
                # One that has ended takes whatever comes, as a closed pipe does.
                self._await(lambda: self._credit > 0 or self._status is not None)
                if self._status is not None:
                    raise BrokenPipeError("the program has ended")
                piece = data[at : at + min(PIECE, self._credit)]
                self._credit -= len(piece)
            self._send(FrameKind.DATA, piece)
            at += len(piece)

    def shutdown_write(self) -> None:
        """End its stdin.  Raises OSError."""
        self._send(FrameKind.EOF, b"")

    def recv(self, size: int, /) -> bytes:
        """Bytes of its stdout, so many at most; b'' at the end."""
        return self._recv(self._out, size)

    def recv_ready(self) -> bool:
        """Whether it has said something to stdout."""
        return bool(self._out)

    def recv_stderr(self, size: int, /) -> bytes:
        """Bytes of its stderr, so many at most; b'' at the end."""
        return self._recv(self._err, size)

    def recv_stderr_ready(self) -> bool:
        """Whether it has said something to stderr."""
        return bool(self._err)

    def exit_status_ready(self) -> bool:
        """Whether it has ended, or will never tell."""
        return self._status is not None or self._gone

    def recv_exit_status(self) -> int:
        """Its status, once it has ended; -1 if that was never told."""
        with self._changed:
            self._await(lambda: self._status is not None, gone_is_well=True)
        return -1 if self._status is None else self._status

    def close(self) -> None:
        """Let go of it; it finds its pipes closed."""
        if not self._gone:
            with suppress(OSError):
                self._send(FrameKind.CLOSE, b"")
        self._gone = True

    def asked(self, deadline: float) -> tuple[FrameKind, Any]:
        """The answer of the agent itself.  Raises OSError, or TimeoutError."""
        self._timeout = deadline
        with self._changed:
            self._await(lambda: self.answer is not None)
        assert self.answer is not None
        return self.answer

    def _recv(self, buffer: bytearray, size: int) -> bytes:
        with self._changed:
            self._await(lambda: bool(buffer) or self.eof_received, gone_is_well=True)
            data = bytes(buffer[:size])
            del buffer[:size]
        if data and not self.closed:
            # What a guest said that has gone meanwhile was said; the next look finds it gone.
            with suppress(OSError):
                self._send(FrameKind.CREDIT, len(data).to_bytes(4))
        return data

    def _await(self, found: Callable[[], bool], *, gone_is_well: bool = False) -> None:
        """Wait until something is so; `changed` is held."""
        if not self._changed.wait_for(lambda: found() or self._gone, self._timeout):
            raise TimeoutError("no answer in time")
        if self._gone and not found() and not gone_is_well:
            raise ConnectionError("the connection to the guest's agent is gone")
