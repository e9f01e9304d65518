# SPDX-License-Identifier: GPL-2.0-or-later
"""The relay in the guest: commands that run there, and what they and the kernel say meanwhile."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.errors import GuestError
from lab.foreign import VALUES, decoded, harmless
from lab.guest.session import Channel, Session

PROGRAM = "/run/lab/bin/relay"
START_DEADLINE = 120.0

READ_LIMIT = 4 << 20
"""Bytes of a file that are fetched, its end."""

_LONGEST = 4 * READ_LIMIT
"""Bytes of a line at most: such a file in base64, and much more."""

_SLOWEST = 1000.0
"""How many times slower than hardware a guest may say it is: deadlines are that much longer."""


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
        self._looked = 0
        """Bytes received in which there is no end of a line."""
        ready = self._next(START_DEADLINE)
        if ready is None:
            raise GuestError(f"the relay in the guest: no word within {START_DEADLINE:.0f} s")
        self.speed = _speed(ready)
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
        while (cut := self._received.find(b"\n", self._looked)) < 0:
            self._looked = len(self._received)
            if self._looked > _LONGEST:
                raise GuestError(
                    f"the relay in the guest says a line of more than {_LONGEST} bytes"
                )
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
        line, self._looked = bytes(self._received[:cut]), 0
        del self._received[: cut + 1]
        try:
            event = decoded(line, values=VALUES)
        except ValueError as error:
            raise GuestError(f"the relay in the guest says no JSON: {error}") from error
        if not isinstance(event, dict):
            raise _wrong(event)
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
            try:
                told = tuple((float(at), harmless(str(text))) for at, text in messages)
            except (TypeError, ValueError, OverflowError) as error:
                raise _wrong(found) from error
            return KernelMessages(told)
        case {"event": "exit", "status": int(status)}:
            return CommandEnd(status)
        case {
            "event": "file", "tag": str(tag), "path": str(path), "size": int(size),
            "data": str(data),
        }:  # fmt: skip
            try:
                return File(tag, path, size, base64.b64decode(data, validate=True))
            except ValueError as error:
                raise _wrong(found) from error
        case {"event": "read", "tag": str(tag)}:
            return Read(tag)
    raise _wrong(found)


def _speed(ready: dict[str, Any]) -> float:
    """What a relay that has begun says of the guest's speed.  Raises GuestError."""
    speed = ready.get("speed", 1.0)
    if not isinstance(speed, int | float) or not 0 < speed <= _SLOWEST:
        raise _wrong(ready)
    return float(speed)


def _wrong(said: object) -> GuestError:
    return GuestError(f"the relay in the guest says what it should not: {said!r:.200}")
