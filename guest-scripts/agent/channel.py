# SPDX-License-Identifier: GPL-2.0-or-later
"""A channel: a program that was started for the host, and the bytes to and from it."""

import contextlib
import os

import programs
import wire


class Channel:
    """One; `send` is called with kind and payload of each frame.

    Descriptors are -1 once closed.  `credit` is how many bytes the host still takes.
    """

    def __init__(self, send, request):
        """Start its program; one that cannot be started ends with a status as a shell gives it."""
        self.send = send
        self.credit = wire.WINDOW
        self.pending = bytearray()
        self.ended = False
        self.pid = self.pidfd = -1
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        for fd in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(fd, False)
        try:
            self.pid = programs.start(request["argv"], stdin, stdout, stderr)
            self.pidfd = os.pidfd_open(self.pid)
        except OSError as problem:
            send(wire.STDERR, f"{request['argv'][0]}: {problem.strerror}\n".encode())
            send(wire.EXIT, (127).to_bytes(4, "big"))
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)

    def reading(self):
        """The descriptors that are waited for to be read, as far as the host takes more."""
        return [fd for fd in (self.stdout, self.stderr) if fd >= 0] if self.credit > 0 else []

    def write(self, data):
        """Give bytes to the program, now or as soon as it takes them."""
        self.pending += data
        self.flush()

    def flush(self):
        """Give the program what it takes; the host may send as much again."""
        taken = 0
        try:
            while self.pending and self.stdin >= 0:
                count = os.write(self.stdin, self.pending[: wire.PIECE])
                del self.pending[:count]
                taken += count
        except BlockingIOError:
            pass
        except OSError:  # it reads no more: what else comes is lost, as in a pipe
            self._shut("stdin")
        if self.stdin < 0:
            taken += len(self.pending)
            self.pending.clear()
        if taken:
            self.send(wire.CREDIT, taken.to_bytes(4, "big"))
        if self.ended and not self.pending:
            self._shut("stdin")

    def end_input(self):
        """Nothing more comes for its stdin."""
        self.ended = True
        self.flush()

    def read(self, fd):
        """Pass on what the program says; whether it said something."""
        if fd not in (self.stdout, self.stderr):
            return False  # closed since somebody saw that there is something
        stdout = fd == self.stdout
        try:
            data = os.read(fd, min(wire.PIECE, self.credit))
        except BlockingIOError:
            return False
        if data:
            self.credit -= len(data)
            self.send(wire.DATA if stdout else wire.STDERR, data)
            return True
        self._shut("stdout" if stdout else "stderr")
        if self.stdout < 0 and self.stderr < 0:
            self.send(wire.EOF, b"")
        return False

    def reap(self):
        """The program has ended: say how."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        # What it said before comes before.
        for fd in self.reading():
            while self.credit > 0 and self.read(fd):
                pass
        self._shut("pidfd")
        self.send(wire.EXIT, (128 - code if code < 0 else code).to_bytes(4, "big"))

    def close(self):
        """Nobody listens any more: the program finds its pipes closed."""
        for name in ("stdin", "stdout", "stderr"):
            self._shut(name)
        self.pending.clear()

    @property
    def over(self):
        """Whether nothing more can come."""
        return self.pidfd < 0 and self.stdout < 0 and self.stderr < 0

    def _shut(self, name):
        fd = getattr(self, name)
        setattr(self, name, -1)
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
