# SPDX-License-Identifier: GPL-2.0-or-later
"""The long-lived executor in the guest: JSON lines over one channel."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lab.errors import GuestError
from lab.foreign import VALUES, TooManyValues, decoded, tamed
from lab.guest.session import Channel, Session
from lab.host.patience import Patience

_PIECE = 1 << 16

_LONGEST = 16 << 20
"""Bytes of an answer at most; a map of all sectors of a window comes nowhere near it."""

_LOOK = 0.02
"""Seconds at least between two looks at whether the guest had a processor."""
_STOOD_STILL = 1.0
"""Seconds behind a deadline after which this process was not late but stopped."""

COPIES = ("/usr/bin/python3", "-IS", "/run/lab/copies", "serve")


class Reply(dict[str, Any]):
    """An answer; what should be in it and is not makes the guest fail, and not the lab."""

    def __missing__(self, key: str) -> Any:
        raise GuestError(f"the executor in the guest answered without {key}")


class Executor:
    """guest-scripts/copies, or another program that answers JSON lines, started once per boot; one
    request at a time.

    A request carries a number, and its answer the same: whoever breaks off while one is awaited,
    or gives it up, never takes it for that of the next.  The program ends with the session it was
    started in.
    """

    def __init__(self, session: Session, program: Sequence[str] = COPIES) -> None:
        self._channel: Channel = session.channel(program)
        self._process = session.process
        self._received = bytearray()
        self._looked = 0
        """Bytes received in which there is no end of a line."""
        self._reply: dict[str, Any] | None = None
        self._number = 0
        self._cut = False
        self.excused = 0.0
        """Seconds of the wait for the last answer that do not count, see answer()."""

    def send(self, **request: object) -> None:
        """Send a request; the answer to the one before, if it was not taken, is lost."""
        self._number += 1
        # The beginning of a line whose end was lost would take the next one with it.
        self._received, self._looked, self._reply = bytearray(), 0, None
        line = json.dumps({**request, "number": self._number}).encode() + b"\n"
        # What is left of a request whose sending was broken off is a line of its own.
        start, self._cut = b"\n" if self._cut else b"", True
        try:
            self._channel.sendall(start + line)
        except OSError as error:
            raise GuestError(f"the executor in the guest is gone: {error}") from error
        self._cut = False

    def has_answer(self) -> bool:
        """Whether the request has been answered, or the executor has ended; does not wait."""
        while not self._found() and self._channel.recv_ready():
            self._received += self._channel.recv(_PIECE)
        return self._reply is not None or self._channel.closed

    def answer(self, deadline: float) -> dict[str, Any] | None:
        """The answer to the request sent, or None if none comes within `deadline` seconds, of which
        those do not count in which this process was stopped, or the guest had no processor.

        Raises GuestError when the guest or its executor ends, or reports that it could not
        carry the request out at all.
        """
        end = time.monotonic() + deadline
        patience, stood = Patience(self._process, deadline), 0.0
        while not self._found():
            self._channel.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._channel.recv(_PIECE)
            except TimeoutError:
                late = time.monotonic() - end
                if late < _STOOD_STILL:
                    if (left := patience.left()) <= 0:
                        return None
                    end = time.monotonic() + max(_LOOK, left)
                    continue
                # This lab did: what the guest said meanwhile was not heard yet.
                end += late + min(late, deadline)
                stood += late
                continue
            if not data:
                words = (
                    self._channel.recv_stderr(4096) if self._channel.recv_stderr_ready() else b""
                )
                raise GuestError(
                    "the executor in the guest ended", detail=words.decode(errors="replace")
                )
            self._received += data
        self.excused = stood + patience.excused()
        reply, self._reply = self._reply, None
        assert reply is not None
        if "error" in reply:
            raise GuestError(f"the executor in the guest: {reply['error']}")
        return reply

    def _found(self) -> bool:
        """Look for the answer in what was received; others are of nobody any more."""
        while self._reply is None:
            end = self._received.find(b"\n", self._looked)
            if max(end, len(self._received)) > _LONGEST:
                raise GuestError(f"the executor in the guest says more than {_LONGEST} bytes")
            if end < 0:
                self._looked = len(self._received)
                return False
            line, self._looked = bytes(self._received[:end]), 0
            del self._received[: end + 1]
            self._reply = _answer(line, self._number)
        return True

    def request(self, deadline: float, **request: object) -> dict[str, Any]:
        """Send a request and wait for its answer.  Raises GuestError when none comes."""
        self.send(**request)
        reply = self.answer(deadline)
        if reply is None:
            raise GuestError(f"the guest did not answer {request['op']} within {deadline:.0f} s")
        return reply

    def end(self, deadline: float) -> None:
        """Let the executor end, and wait `deadline` seconds at most until it has, if it still
        can."""
        with suppress(OSError):
            self._channel.shutdown_write()
            last = time.monotonic() + deadline
            while not self._channel.exit_status_ready() and time.monotonic() < last:
                time.sleep(0.02)
        self._channel.close()


def _answer(line: bytes, number: int) -> dict[str, Any] | None:
    """The answer in a line, without its number; None if it is to another request, or the rest of a
    line whose beginning was lost when its reader was interrupted."""
    try:
        reply = decoded(line, values=VALUES)
    except TooManyValues as error:
        raise GuestError(f"the executor in the guest says {error}") from error
    except ValueError:
        return None
    if not isinstance(reply, dict) or reply.pop("number", None) != number:
        return None
    return Reply(tamed(reply))
