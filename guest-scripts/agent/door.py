# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's SSH port: whoever connects gets an sshd of their own.

None runs where nobody does, and what is checkpointed holds no key.
"""

import os
import socket

import programs

PORT = 22
SSHD = ["/usr/sbin/sshd", "-i", "-E", f"{programs.LAB}/sshd.log", "-f"]
CONFIG = f"{programs.LAB}/sshd_config"


class Door:
    """The socket that listens."""

    def __init__(self):
        self.socket = socket.create_server(("", PORT), backlog=64)
        self.socket.setblocking(False)
        self.silence = os.open(os.devnull, os.O_WRONLY)

    def fileno(self):
        """Its descriptor."""
        return self.socket.fileno()

    def answer(self):
        """Start an sshd for whoever has connected; its pid, or None if nobody has any more."""
        try:
            visitor, _ = self.socket.accept()
        except OSError:
            return None
        with visitor:
            visitor.setblocking(True)
            fd = visitor.fileno()
            return programs.start([*SSHD, CONFIG], fd, fd, self.silence)
