# SPDX-License-Identifier: GPL-2.0-or-later
"""The exerciser in the guest."""

import base64
from typing import Any

from lab.errors import GuestError
from lab.guest.executor import Executor
from lab.guest.session import Session

PROGRAM = "/run/lab/bin/exerciser"

_PARTING = 30.0
"""Seconds that the end of the exerciser may take."""


class OperationTimeout(Exception):
    """An operation has not ended within its deadline."""


class Exerciser:
    """guest-scripts/suites/exerciser on one file; it ends with its session, or when closed."""

    def __init__(self, session: Session, path: str, deadline: float) -> None:
        self._executor = Executor(session, (PROGRAM, path))
        self._deadline = deadline

    def request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have a request carried out; its answer, an error of the operation included.

        Raises OperationTimeout, or GuestError when the guest or the exerciser ends.
        """
        self._executor.send(**request)
        answer = self._executor.answer(self._deadline)
        if answer is None:
            raise OperationTimeout
        return answer

    def bytes_at(self, at: int, length: int) -> bytes:
        """Part of the file.  Raises GuestError when it cannot be read."""
        answer = self.request({"op": "read", "at": at, "length": length})
        if answer["errno"]:
            raise GuestError(f"read {at}+{length} in the guest: {answer['said']}")
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        """Let the exerciser end, and wait until it has let go of the file, if it still can."""
        self._executor.end(_PARTING)
