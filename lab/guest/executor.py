"""The long-lived executor in the guest: JSON lines over one SSH channel."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import paramiko

from lab.errors import GuestError
from lab.guest.ssh import Session

COPIES = ("/usr/bin/python3", "-IS", "/run/lab/copies", "serve")


class Executor:
    """guest-scripts/copies, or another program that answers JSON lines, started once per boot; one
    request at a time.

    It ends with the session it was started in.
    """

    def __init__(self, session: Session, program: Sequence[str] = COPIES) -> None:
        self._channel: paramiko.Channel = session.channel(program)
        self._received = b""
        self._owed = 0

    def send(self, **request: object) -> None:
        """Send a request; its answer must be taken before the next one is sent."""
        try:
            self._channel.sendall(json.dumps(request).encode() + b"\n")
            self._owed += 1
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise GuestError(f"the executor in the guest is gone: {error}") from error

    def has_answer(self) -> bool:
        """Whether the request has been answered, or the executor has ended; does not wait."""
        return bool(self._received) or self._channel.recv_ready() or self._channel.closed

    def answer(self, deadline: float) -> dict[str, Any] | None:
        """The answer to the request sent, or None if none comes within `deadline` seconds.

        Raises GuestError when the guest or its executor ends, or reports that it could not
        carry the request out at all.
        """
        end = time.monotonic() + deadline
        while b"\n" not in self._received:
            self._channel.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._channel.recv(65536)
            except TimeoutError:
                return None
            if not data:
                words = (
                    self._channel.recv_stderr(4096) if self._channel.recv_stderr_ready() else b""
                )
                raise GuestError(
                    "the executor in the guest ended", detail=words.decode(errors="replace")
                )
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        self._owed -= 1
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise GuestError(f"the executor in the guest: {reply['error']}")
        return reply

    def idle(self, deadline: float) -> bool:
        """Whether all is answered, `deadline` seconds from now at the latest; what the answer is
        does not matter to anybody any more.  Raises GuestError."""
        return not self._owed or self.answer(deadline) is not None

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
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()
            last = time.monotonic() + deadline
            while not self._channel.exit_status_ready() and time.monotonic() < last:
                time.sleep(0.02)
        self._channel.close()
