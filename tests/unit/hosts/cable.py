# SPDX-License-Identifier: GPL-2.0-or-later
"""A cable between a worker and its database, which can be cut: what is sent then goes nowhere, and
nobody is told."""

import contextlib
import select
import socket
import threading


class Cable:
    """Relays connections from a port of its own to another."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._whole = threading.Event()
        self._whole.set()
        self._over = False
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """From now on nothing gets through."""
        self._whole.clear()

    def mend(self) -> None:
        """New connections get through; of the old ones nobody knows any more."""
        for one in list(self._pairs):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._whole.set()

    def close(self) -> None:
        """Take the cable away."""
        self._over = True
        self.mend()
        self._thread.join(10)
        for one in (self._listener, *self._pairs):
            one.close()

    def _relay(self) -> None:
        while not self._over:
            self._whole.wait()
            ready, _, _ = select.select([self._listener, *self._pairs], [], [], 0.05)
            for one in ready:
                if not self._whole.is_set():
                    break
                if one is self._listener:
                    self._accept()
                elif one in self._pairs:
                    self._pass_on(one)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._to), 5)
        except OSError:
            near.close()
            return
        self._pairs[near], self._pairs[far] = far, near

    def _pass_on(self, one: socket.socket) -> None:
        other = self._pairs[one]
        with contextlib.suppress(OSError):
            if data := one.recv(65536):
                other.sendall(data)
                return
        for end in (one, other):
            self._pairs.pop(end, None)
            end.close()
