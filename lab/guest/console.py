# SPDX-License-Identifier: GPL-2.0-or-later
"""The serial console of a guest, on the user's terminal."""

import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import GuestError
from lab.foreign import end_of
from lab.host import dirs
from lab.host.command import tail
from lab.vm.argv import CONSOLE_LOG, CONSOLE_SOCKET

LEAVE = b"\x1d"
"""Ctrl-], as in telnet."""


def attach(directory: Path) -> None:
    """Relay the terminal and the console until Ctrl-], end of input, or the guest's end.

    Raises GuestError when somebody else is attached or the guest is gone.
    """
    sys.stdout.write(tail(end_of(directory / CONSOLE_LOG), 20) + "\n")
    sys.stdout.flush()
    with connected(directory) as console:
        if sys.stdin.isatty():
            print("[console attached; Ctrl-] leaves]", file=sys.stderr)
            with _raw(sys.stdin.fileno()):
                _relay(console)
        else:
            _relay(console)


@contextmanager
def connected(directory: Path) -> Iterator[socket.socket]:
    """A connection to the console.  Raises GuestError when somebody else has one, or the guest is
    gone."""
    with (
        dirs.short(directory) as short,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as console,
    ):
        console.settimeout(5.0)
        try:
            console.connect(str(short / CONSOLE_SOCKET))
        except OSError as error:
            raise GuestError(f"console: {error.strerror or error}") from error
        console.settimeout(None)
        yield console


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        print(file=sys.stderr)


def _relay(console: socket.socket) -> None:
    source = sys.stdin.fileno()
    while True:
        ready, _, _ = select.select([console.fileno(), source], [], [])
        if console.fileno() in ready:
            data = console.recv(65536)
            if not data:
                return
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        if source in ready:
            data = os.read(source, 1024)
            if not data or LEAVE in data:
                return
            console.sendall(data)
