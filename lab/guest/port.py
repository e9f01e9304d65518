# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtio-serial port of a guest, on which its agent answers (guest-scripts/agent).

One process of the lab at a time may be connected to it; others take SSH.
"""

import fcntl
import json
import os
import secrets
import shlex
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.errors import GuestError
from lab.guest.frames import (
    LIMIT,
    PIECE,
    WINDOW,
    BadFrame,
    Frame,
    FrameKind,
    Frames,
    Greeted,
    filler,
    greeting,
)
from lab.guest.session import Channel, Session
from lab.vm.argv import PORT_SOCKET

LOCK = "port.lock"
"""In a guest's directory: locked by whoever is connected."""

_RETRY = 2.0
"""Seconds without an answer after which the greeting is said again, behind filler."""


class PortChannel:
    """A program that the agent started for this process; see session.Channel."""

    def __init__(self, session: "PortSession", number: int) -> None:
        self.eof_received = False
        self.answer: tuple[FrameKind, Any] | None = None
        """What the agent itself answered."""
        self._session = session
        self._number = number
        self._out, self._err = bytearray(), bytearray()
        self._status: int | None = None
        self._credit = WINDOW
        self._timeout: float | None = None
        self._gone = False
        self._changed = session.changed

    @property
    def closed(self) -> bool:
        """Nothing goes either way any more."""
        return self._gone or (self._status is not None and self.eof_received)

    def take(self, frame: Frame) -> None:
        """A frame of this channel has come; the session's lock is held."""
        match frame.kind:
            case FrameKind.DATA:
                self._out += frame.payload
            case FrameKind.STDERR:
                self._err += frame.payload
            case FrameKind.EOF:
                self.eof_received = True
            case FrameKind.CREDIT:
                self._credit += int.from_bytes(frame.payload)
            case FrameKind.EXIT:
                self._status = int.from_bytes(frame.payload)
            case FrameKind.ANSWER | FrameKind.REFUSED:
                self.answer = frame.kind, json.loads(frame.payload)

    def lose(self) -> None:
        """The connection is gone; the session's lock is held."""
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
            self._session.send(Frame(self._number, FrameKind.DATA, piece))
            at += len(piece)

    def shutdown_write(self) -> None:
        """End its stdin.  Raises OSError."""
        self._session.send(Frame(self._number, FrameKind.EOF))

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
            self._session.forget(self._number)
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
            self._session.send(Frame(self._number, FrameKind.CREDIT, len(data).to_bytes(4)))
        return data

    def _await(self, found: Callable[[], bool], *, gone_is_well: bool = False) -> None:
        """Wait until something is so; the lock is held."""
        if not self._changed.wait_for(lambda: found() or self._gone, self._timeout):
            raise TimeoutError("no answer in time")
        if self._gone and not found() and not gone_is_well:
            raise ConnectionError("the connection to the guest's agent is gone")


class PortSession(Session):
    """A connection to the agent of a guest; one thread reads what comes."""

    def __init__(self, directory: Path, *, deadline: float) -> None:
        """Connect to the port of the guest in `directory` within `deadline` seconds.

        Raises GuestError when nobody answers: no agent, or one that talks to another process.
        """
        self.changed = threading.Condition()
        """Notified when something has come."""
        self._channels: dict[int, PortChannel] = {}
        self._number = 0
        self._sending = threading.Lock()
        self._open = True
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._lock = _locked(directory)
        try:
            _connect(self._socket, directory)
            rest = self._greet(time.monotonic() + deadline)
        except OSError as error:
            self._socket.close()
            os.close(self._lock)
            raise GuestError(
                f"the agent of {directory.name} does not answer on its port: {error}",
                hint="lab console shows what the guest does",
            ) from error
        self._reader = threading.Thread(target=self._read, args=(rest,), name="port", daemon=True)
        self._reader.start()

    def _greet(self, end: float) -> bytes:
        """Greet until the agent answers; what came behind its answer."""
        data = b""
        while True:
            digits = secrets.token_hex(16)
            waiting = Greeted(digits)
            self._socket.settimeout(max(0.01, end - time.monotonic()))
            self._socket.sendall(data + greeting(digits))
            again = min(end, time.monotonic() + _RETRY)
            while (left := again - time.monotonic()) > 0:
                self._socket.settimeout(left)
                try:
                    said = self._socket.recv(PIECE)
                except TimeoutError:
                    break
                if not said:
                    raise ConnectionError("QEMU has closed it")
                if (rest := waiting.feed(said)) is not None:
                    self._socket.settimeout(None)
                    return rest
            if time.monotonic() >= end:
                raise TimeoutError("no answer in time")
            # Somebody before may have been cut short in the middle of a frame.
            data = filler()

    @property
    def is_open(self) -> bool:
        """Whether neither end has closed it."""
        return self._open

    def channel(self, argv: Sequence[str]) -> Channel:
        """Start a command; the channel to it.  Raises GuestError."""
        return self._begin(FrameKind.OPEN, {"argv": list(argv)}, f"cannot start {shlex.join(argv)}")

    def ask(self, do: str, *, deadline: float, **words: object) -> Any:
        """Ask the agent itself for something; its answer.  Raises GuestError."""
        channel = self._begin(FrameKind.ASK, {"do": do, **words}, f"cannot ask for {do}")
        try:
            kind, answer = channel.asked(deadline)
        except OSError as error:
            raise GuestError(f"the guest's agent: {do}: {error}") from error
        finally:
            channel.close()
        if kind is FrameKind.REFUSED:
            raise GuestError(f"the guest's agent: {do}: {answer}")
        return answer

    def _begin(self, kind: FrameKind, request: dict[str, object], what: str) -> PortChannel:
        with self.changed:
            self._number += 1
            number = self._number
            channel = self._channels[number] = PortChannel(self, number)
        try:
            self.send(Frame(number, kind, json.dumps(request).encode()))
        except OSError as error:
            raise GuestError(f"the guest's agent: {what}: {error}") from error
        return channel

    def send(self, frame: Frame) -> None:
        """Send a frame.  Raises OSError."""
        if len(frame.payload) > LIMIT:
            raise OSError(f"{len(frame.payload)} bytes are too long for a request")
        with self._sending:
            if not self._open:
                raise ConnectionError("the connection to the guest's agent is gone")
            self._socket.sendall(frame.bytes())

    def forget(self, number: int) -> None:
        """Nobody listens to a channel any more."""
        with self.changed:
            known = self._channels.pop(number, None)
        if known and self._open:
            try:
                self.send(Frame(number, FrameKind.CLOSE))
            except OSError:
                return

    def _read(self, data: bytes) -> None:
        frames = Frames()
        try:
            while True:
                with self.changed:
                    for frame in frames.feed(data):
                        if channel := self._channels.get(frame.channel):
                            channel.take(frame)
                    self.changed.notify_all()
                data = self._socket.recv(PIECE)
                if not data:
                    break
        except (OSError, BadFrame, ValueError):
            pass  # told to whoever waits
        with self.changed:
            self._open = False
            for channel in self._channels.values():
                channel.lose()
            self.changed.notify_all()

    def close(self) -> None:
        """Close the connection; the guest is not touched."""
        if self._socket.fileno() < 0:
            return
        self._open = False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(5.0)
        self._socket.close()
        os.close(self._lock)


class PortBusy(GuestError):
    """Another process of the lab, or this one, is connected to it."""


def _locked(directory: Path) -> int:
    """A descriptor that holds the port: QEMU would let whoever comes second wait.  Raises
    PortBusy."""
    fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise PortBusy(f"{directory.name}: its agent is talked to already") from None
    return fd


def _connect(connection: socket.socket, directory: Path) -> None:
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        connection.settimeout(5.0)
        # Through /proc, any directory fits the 107 bytes of a socket's address.
        connection.connect(f"/proc/self/fd/{fd}/{PORT_SOCKET}")
    finally:
        os.close(fd)
