# SPDX-License-Identifier: GPL-2.0-or-later
"""The relay in the guest: commands that run there, and what they and the kernel say meanwhile."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.errors import GuestError
from lab.guest.session import Channel, Session

PROGRAM = "/run/lab/bin/relay"
START_DEADLINE = 120.0

READ_LIMIT = 4 << 20
"""Bytes of a file that are fetched, its end."""


@dataclass(frozen=True)
class CommandOutput:
    """The command printed something."""

    text: str


@dataclass(frozen=True)
class KernelMessages:
    """The kernel logged messages: seconds since boot, and the text of each."""

    messages: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class CommandEnd:
    """The command has ended; its status as a shell counts it."""

    status: int


@dataclass(frozen=True)
class File:
    """A file that was asked for, or its end if `size` is more than there is of `data`."""

    tag: str
    path: str
    size: int
    data: bytes


@dataclass(frozen=True)
class Read:
    """All files that were asked for under a tag and exist have been sent."""

    tag: str


Event = CommandOutput | KernelMessages | CommandEnd | File | Read


class RelayGone(GuestError):
    """The connection to the relay has ended."""


class Relay:
    """guest-scripts/suites/relay, started once per boot; it ends with its session."""

    def __init__(self, session: Session, *, measure: bool = False) -> None:
        """Start it, and have it measure the guest's speed if wanted.  Raises GuestError."""
        argv = [PROGRAM, *(["--speed"] if measure else [])]
        self._channel: Channel = session.channel(argv)
        self._received = bytearray()
        ready = self._next(START_DEADLINE)
        if ready is None:
            raise GuestError(f"the relay in the guest: no word within {START_DEADLINE:.0f} s")
        self.speed = float(ready.get("speed", 1.0))
        """How many times slower than hardware the guest is, if that was measured."""

    def run(self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str]) -> None:
        """Start a command; the one before must have ended."""
        self._send(op="run", argv=list(argv), cwd=cwd, env=dict(env))

    def read(self, tag: str, paths: Sequence[str]) -> None:
        """Ask for files; those that exist come as File, then Read."""
        self._send(op="read", tag=tag, paths=list(paths), limit=READ_LIMIT)

    def event(self, deadline: float) -> Event | None:
        """The next event, or None if nothing happens within `deadline` seconds.

        Raises RelayGone when the guest, or the relay in it, has ended.
        """
        found = self._next(deadline)
        return _event(found) if found else None

    def _send(self, **request: object) -> None:
        try:
            self._channel.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise RelayGone(f"the relay in the guest is gone: {error}") from error

    def _next(self, deadline: float) -> dict[str, Any] | None:
        end = time.monotonic() + deadline
        while (cut := self._received.find(b"\n")) < 0:
            self._channel.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._channel.recv(1 << 16)
            except TimeoutError:
                return None
            except OSError as error:
                raise RelayGone(f"the relay in the guest is gone: {error}") from error
            if not data:
                raise RelayGone("the relay in the guest has ended", detail=self._last_words())
            self._received += data
        line = bytes(self._received[:cut])
        del self._received[: cut + 1]
        event: dict[str, Any] = json.loads(line)
        return event

    def _last_words(self) -> str:
        if not self._channel.recv_stderr_ready():
            return ""
        return self._channel.recv_stderr(1 << 16).decode(errors="replace")


def _event(found: dict[str, Any]) -> Event:
    match found:
        case {"event": "output", "text": str(text)}:
            return CommandOutput(text)
        case {"event": "kernel", "messages": list(messages)}:
            return KernelMessages(tuple((float(at), str(text)) for at, text in messages))
        case {"event": "exit", "status": int(status)}:
            return CommandEnd(status)
        case {"event": "file", "tag": str(tag), "path": str(path), "size": int(size)}:
            return File(tag, path, size, base64.b64decode(str(found["data"])))
        case {"event": "read", "tag": str(tag)}:
            return Read(tag)
    raise GuestError(f"the relay in the guest says what it should not: {found}")
