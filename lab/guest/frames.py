# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes over the port to the guest's agent, as guest-scripts/agent/wire.py describes it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

HELLO, HERE = b"\xfflab: who is there? ", b"\xfflab: the agent. "
PIECE = 1 << 16
"""Bytes of a program in a frame, at most."""
LIMIT = 1 << 18
"""Bytes in any frame, at most; those of the guest, which is not trusted, too."""
WINDOW = 1 << 20
"""Bytes of a channel, in one direction, that may be under way."""

_HEADER = struct.Struct(">IBI")


class FrameKind(IntEnum):
    """What a frame is."""

    FILLER = 0
    OPEN = 1
    DATA = 2
    STDERR = 3
    EOF = 4
    CREDIT = 5
    CLOSE = 6
    EXIT = 7
    ASK = 8
    ANSWER = 9
    REFUSED = 10


class BadFrame(ValueError):
    """The other end says what is no frame."""


@dataclass(frozen=True)
class Frame:
    """One frame: the number of its channel, what it is, and what is in it."""

    channel: int
    kind: FrameKind
    payload: bytes = b""

    def bytes(self) -> bytes:
        """As it goes over the port."""
        return _HEADER.pack(self.channel, self.kind, len(self.payload)) + self.payload


def greeting(digits: str) -> bytes:
    """What the host says first, with 32 hexadecimal digits that were not used before."""
    return HELLO + digits.encode() + b"\n"


def filler() -> bytes:
    """Enough to complete any frame that was cut short, whatever it was."""
    return bytes(LIMIT + 2 * _HEADER.size)


class Greeted:
    """Waits for the agent's answer to a greeting; what comes before is of others."""

    def __init__(self, digits: str) -> None:
        self._answer = HERE + digits.encode() + b"\n"
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """What came behind the answer, or None while it has not come."""
        self._data += data
        at = self._data.find(self._answer)
        if at < 0:
            del self._data[: -len(self._answer)]
            return None
        return bytes(self._data[at + len(self._answer) :])


class Frames:
    """Takes bytes as they come and makes frames of them."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now.  Raises BadFrame."""
        self._data += data
        while len(self._data) >= _HEADER.size:
            channel, kind, length = _HEADER.unpack_from(self._data)
            if kind not in list(FrameKind) or length > LIMIT:
                raise BadFrame(f"kind {kind}, {length} bytes")
            if len(self._data) < _HEADER.size + length:
                return
            payload = bytes(self._data[_HEADER.size : _HEADER.size + length])
            del self._data[: _HEADER.size + length]
            yield Frame(channel, FrameKind(kind), payload)
