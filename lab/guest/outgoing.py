# SPDX-License-Identifier: GPL-2.0-or-later
"""What is sent to a guest's agent, by a thread of its own: a guest that hangs takes nothing, and
whoever has something to send must not hang with it."""

import socket
import threading
from contextlib import suppress
from queue import SimpleQueue


class Outgoing:
    """The bytes that go to a socket, in the order in which they are put.

    Never more than the windows of the channels: their senders wait for credit.  That the other end
    is gone is told by what reads from the socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._send, name="port, outgoing", daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        """Have bytes sent; does not wait."""
        self._waiting.put(data)

    def end(self, within: float) -> None:
        """Send what was put before, and nothing more; wait for that for so many seconds."""
        self._waiting.put(None)
        self._thread.join(within)

    def _send(self) -> None:
        with suppress(OSError):
            while (data := self._waiting.get()) is not None:
                self._socket.sendall(data)
