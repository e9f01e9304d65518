# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes over the port: frames, each of a channel, after a greeting.

    frame      channel (4 bytes), kind (1), length (4), all big-endian; then so many bytes
    greeting   HELLO, 32 hexadecimal digits and a newline; the answer is HERE with the same digits

A stream of bytes outlives its readers: whoever connects greets, and drops what comes before the
answer.  No frame begins like a greeting, so the agent hears one also between two frames; where the
one before was cut short, the host sends filler, of which each byte is taken for what is missing.

lab/guest/frames.py is the other end.
"""

import struct

HELLO = b"\xfflab: who is there? "
HERE = b"\xfflab: the agent. "
DIGITS = 32

HEADER = struct.Struct(">IBI")
PIECE = 1 << 16
"""Bytes of a program in a frame, at most."""
LIMIT = 1 << 18
"""Bytes in any frame, at most."""
WINDOW = 1 << 20
"""Bytes of a channel, in one direction, that may be under way."""

FILLER, OPEN, DATA, STDERR, EOF, CREDIT, CLOSE, EXIT, ASK, ANSWER, REFUSED = range(11)
"""Kinds.  OPEN: JSON, how a program is started; DATA: its stdin, or stdout; EOF: the end of these;
CREDIT: so many bytes (4) have been taken and may be sent again; CLOSE: nobody listens any more;
EXIT: its status (4 bytes), as a shell counts; ASK, ANSWER, REFUSED: a request to the agent itself,
JSON, and what came of it."""

ANEW = b"\xff" * (LIMIT + 2 * HEADER.size)
"""Said by an agent that begins where another one ended, whatever that was about to say: no frame,
so that whoever waited for the other one learns it."""


def frame(channel, kind, payload=b""):
    """The bytes of a frame."""
    return HEADER.pack(channel, kind, len(payload)) + payload


class Reader:
    """Takes bytes as they come and makes frames of them."""

    def __init__(self):
        self.data = bytearray()
        self.greeted = False

    def lose(self):
        """Nobody is there any more: wait for the next greeting."""
        self.data.clear()
        self.greeted = False

    def feed(self, data):
        """Frames as (channel, kind, payload), and the digits of a greeting as (None, None, digits),
        in these bytes and what was left of those before."""
        self.data += data
        while True:
            if not self.greeted or self.data[:1] == HELLO[:1]:
                digits = self._greeting()
                if digits is None:
                    return
                self.greeted = True
                yield None, None, digits
            if len(self.data) < HEADER.size:
                return
            channel, kind, length = HEADER.unpack_from(self.data)
            if kind == FILLER or kind > REFUSED or length > LIMIT:
                # Not where a frame begins.
                self.greeted = False
                continue
            if len(self.data) < HEADER.size + length:
                return
            payload = bytes(self.data[HEADER.size : HEADER.size + length])
            del self.data[: HEADER.size + length]
            yield channel, kind, payload

    def _greeting(self):
        at = self.data.find(HELLO)
        if at < 0:
            # All but what may be its beginning.
            del self.data[: max(0, len(self.data) - len(HELLO))]
            return None
        end = at + len(HELLO) + DIGITS + 1
        if len(self.data) < end:
            return None
        digits = bytes(self.data[at + len(HELLO) : end - 1])
        del self.data[:end]
        return digits
