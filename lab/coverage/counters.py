# SPDX-License-Identifier: GPL-2.0-or-later
"""The counters of a guest's kernel, taken over the session that a run has to the guest."""

import base64
import binascii
import zlib
from dataclasses import dataclass

from lab.errors import GuestError
from lab.guest.executor import Executor
from lab.guest.session import Session

PROGRAM = "/run/lab/bin/counters"

_LARGEST = 4 << 20
"""Bytes of one object's counts at most; fs/btrfs has 100 KB."""


@dataclass(frozen=True)
class Count:
    """What was counted since the last time."""

    files: dict[str, bytes]
    """.gcda files by the path of the object when it was compiled; only of those that counted."""
    objects: int
    """How many count at all."""
    seconds: float


class Counters:
    """guest-scripts/suites/counters in one boot of a guest; it ends with the session."""

    def __init__(self, session: Session) -> None:
        self._executor = Executor(session, (PROGRAM,))

    def take(self, deadline: float) -> Count:
        """What was counted since the last time, or since the kernel began.  Raises GuestError."""
        answer = self._executor.request(deadline, op="take")
        try:
            files = {str(path): _unpacked(data) for path, data in answer["files"].items()}
            return Count(files, int(answer["objects"]), float(answer["seconds"]))
        except (ValueError, TypeError, AttributeError, binascii.Error, zlib.error) as error:
            raise GuestError(f"the guest's counts cannot be read: {error}") from error


def _unpacked(text: str) -> bytes:
    stream = zlib.decompressobj()
    data = stream.decompress(base64.b64decode(text), _LARGEST)
    if not stream.eof:
        raise ValueError(f"counts of an object beyond {_LARGEST} bytes")
    return data
