# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtio-serial port of a guest, on which its agent answers (guest-scripts/agent).

One process of the lab at a time may be connected to it; others take SSH.
"""

import json
import secrets
import shlex
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from lab.errors import GuestError, GuestGone, HostError
from lab.guest.frames import (
    LIMIT,
    PIECE,
    BadFrame,
    Frame,
    FrameKind,
    Frames,
    Greeted,
    filler,
    greeting,
)
from lab.guest.outgoing import Outgoing
from lab.guest.portchannel import PortChannel
from lab.guest.session import Channel, Session
from lab.host import dirs, lock
from lab.host.patience import Patience
from lab.host.process import Process
from lab.vm.argv import PORT_SOCKET

LOCK = "port.lock"
"""In a guest's directory: locked by whoever is connected."""

_RETRY = 2.0
"""Seconds without an answer after which the greeting is said again, behind filler."""

_LAST_WORDS = 1.0
"""Seconds in which a guest takes what was sent before the connection was closed, or never will."""


class PortSession(Session):
    """A connection to the agent of a guest; one thread reads what comes, one sends."""

    def __init__(self, directory: Path, *, deadline: float, process: Process | None = None) -> None:
        """Connect to the port of the guest in `directory`, whose QEMU is `process`, within
        `deadline` seconds.

        Raises GuestError when nobody answers: no agent, or one that talks to another process.
        """
        self.process = process
        self._changed = threading.Condition()
        self._channels: dict[int, PortChannel] = {}
        self._number = 0
        self._open = True
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._owned = _held(directory)
        try:
            _connect(self._socket, directory)
            rest = self._greet(Patience(process, deadline))
        except OSError as error:
            self._socket.close()
            self._owned.close()
            raise GuestError(
                f"the agent of {directory.name} does not answer on its port: {error}",
                hint="lab console shows what the guest does",
            ) from error
        self._outgoing = Outgoing(self._socket)
        self._reader = threading.Thread(target=self._read, args=(rest,), name="port", daemon=True)
        self._reader.start()

    def _greet(self, patience: Patience) -> bytes:
        """Greet until the agent answers; what came behind its answer."""
        data = b""
        while True:
            digits = secrets.token_hex(16)
            waiting = Greeted(digits)
            self._socket.settimeout(max(0.01, patience.left()))
            self._socket.sendall(data + greeting(digits))
            again = time.monotonic() + _RETRY
            while (wait := again - time.monotonic()) > 0:
                if (left := patience.left()) <= 0:
                    raise TimeoutError("no answer in time")
                self._socket.settimeout(max(0.01, min(wait, left)))
                try:
                    said = self._socket.recv(PIECE)
                except TimeoutError:
                    continue
                if not said:
                    raise ConnectionError("QEMU has closed it")
                if (rest := waiting.feed(said)) is not None:
                    self._socket.settimeout(None)
                    return rest
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
            raise _broken(do, error) from error
        finally:
            channel.close()
        if kind is FrameKind.REFUSED:
            raise GuestError(f"the guest's agent: {do}: {answer}")
        return answer

    def _begin(self, kind: FrameKind, request: dict[str, object], what: str) -> PortChannel:
        with self._changed:
            self._number += 1
            send = partial(self._send, self._number)
            channel = self._channels[self._number] = PortChannel(self._changed, send)
        try:
            send(kind, json.dumps(request).encode())
        except OSError as error:
            raise _broken(what, error) from error
        return channel

    def _send(self, number: int, kind: FrameKind, payload: bytes) -> None:
        """Have a frame sent; with the last one of a channel, that is forgotten.  Raises OSError."""
        if kind is FrameKind.CLOSE:
            with self._changed:
                self._channels.pop(number, None)
        if len(payload) > LIMIT:
            raise OSError(f"{len(payload)} bytes are too long for a request")
        if not self._open:
            raise ConnectionError("the connection to the guest's agent is gone")
        self._outgoing.put(Frame(number, kind, payload).bytes())

    def _read(self, data: bytes) -> None:
        frames = Frames()
        try:
            while True:
                with self._changed:
                    for frame in frames.feed(data):
                        if channel := self._channels.get(frame.channel):
                            channel.take(frame)
                    self._changed.notify_all()
                data = self._socket.recv(PIECE)
                if not data:
                    break
        except (OSError, BadFrame, ValueError):
            pass  # told to whoever waits
        with self._changed:
            self._open = False
            for channel in self._channels.values():
                channel.lose()
            self._changed.notify_all()

    def close(self) -> None:
        """Close the connection; the guest is not touched."""
        if self._socket.fileno() < 0:
            return
        self._open = False
        self._outgoing.end(_LAST_WORDS)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(5.0)
        self._socket.close()
        self._owned.close()


def _broken(what: str, error: OSError) -> GuestError:
    kind = GuestGone if isinstance(error, ConnectionError) else GuestError
    return kind(f"the guest's agent: {what}: {error}")


class PortBusy(GuestError):
    """Another process of the lab, or this one, is connected to it."""


def _held(directory: Path) -> ExitStack:
    """What holds the port until it is closed: QEMU would let whoever comes second wait.  Raises
    PortBusy."""
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.held(directory / LOCK, deadline=0))
        except HostError as error:
            raise PortBusy(f"{directory.name}: its agent is talked to already: {error}") from None
        return stack.pop_all()


def _connect(connection: socket.socket, directory: Path) -> None:
    with dirs.short(directory) as short:
        connection.settimeout(5.0)
        connection.connect(str(short / PORT_SOCKET))
