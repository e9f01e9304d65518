"""The exerciser in the guest, and what the kernel says while it works."""

import base64
import json
import time
from contextlib import suppress
from typing import Any

import paramiko

from lab.errors import GuestError
from lab.guest.kmsg import fatal
from lab.guest.relay import Kernel, Relay
from lab.guest.ssh import Session

PROGRAM = "/run/lab/bin/exerciser"

_PARTING = 30.0
"""Seconds that the end of the exerciser may take."""


class Overdue(Exception):
    """An operation has not ended within its deadline."""


class Exerciser:
    """guest-scripts/suites/exerciser on one file; it ends with its session, or when closed."""

    def __init__(self, session: Session, path: str, deadline: float) -> None:
        self._channel: paramiko.Channel = session.channel([PROGRAM, path])
        self._received = b""
        self._deadline = deadline

    def request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have a request carried out; its answer, an error of the operation included.

        Raises Overdue, or GuestError when the guest or the exerciser ends.
        """
        try:
            self._channel.sendall(json.dumps(request).encode() + b"\n")
            line = self._line(time.monotonic() + self._deadline)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise GuestError(f"the exerciser in the guest is gone: {error}") from error
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _line(self, end: float) -> bytes:
        while b"\n" not in self._received:
            self._channel.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._channel.recv(1 << 16)
            except TimeoutError:
                raise Overdue from None
            if not data:
                words = (
                    self._channel.recv_stderr(4096) if self._channel.recv_stderr_ready() else b""
                )
                raise GuestError(
                    "the exerciser in the guest ended", detail=words.decode(errors="replace")
                )
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def bytes_at(self, at: int, length: int) -> bytes:
        """Part of the file.  Raises GuestError when it cannot be read."""
        answer = self.request({"op": "read", "at": at, "length": length})
        if answer["errno"]:
            raise GuestError(f"read {at}+{length} in the guest: {answer['said']}")
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        """Let the exerciser end, and wait until it has let go of the file, if it still can."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()
            end = time.monotonic() + _PARTING
            while not self._channel.exit_status_ready() and time.monotonic() < end:
                time.sleep(0.02)
        self._channel.close()


def kernel_said(relay: Relay) -> tuple[list[str], str]:
    """What the kernel logged since the last time, and the first message that means trouble."""
    heard: list[str] = []
    while (event := relay.event(0.001)) is not None:
        if isinstance(event, Kernel):
            heard += [text for _, text in event.messages]
    return heard, next((text for text in heard if fatal(text)), "")
