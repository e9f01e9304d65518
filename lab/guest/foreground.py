# SPDX-License-Identifier: GPL-2.0-or-later
"""A program in the guest in place of this process, whose stdin, stdout, stderr and exit status are
its own."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from lab.errors import GuestGone
from lab.guest.guest import PORT_DEADLINE, Guest
from lab.guest.port import PortSession
from lab.guest.session import Channel

_PIECE = 1 << 16
_BROKEN_PIPE = 128 + signal.SIGPIPE
_SHELL = "/bin/bash"
"""The login shell of the guest's root, to which sshd gives a command in the same way."""


def run(guest: Guest, line: str) -> int:
    """Run a line of shell to its end, and that of all that holds its stdout and stderr; its status.

    As with ssh: at Ctrl-C, or when this process is killed, the program finds its pipes closed.
    Raises PortBusy when the guest's agent is talked to already, GuestError when it does not answer
    or goes away, HostError when QEMU dies.
    """
    with guest.machine.talked_to():
        with PortSession(guest.directory, deadline=PORT_DEADLINE) as session:
            channel = session.channel([_SHELL, "-c", line])
            try:
                status = attend(channel)
            finally:
                channel.close()
        if status < 0:
            raise GuestGone(f"the guest went away, or its agent, during: {line}")
    return status


def attend(channel: Channel) -> int:
    """Join a program's pipes with those of this process; its status, -1 if it was never told."""
    # Where one was closed, its number is somebody else's by now.
    streams = (sys.stdin, sys.stdout, sys.stderr)
    stdin, stdout, stderr = (
        os.open(os.devnull, os.O_RDWR) if stream is None else fd
        for fd, stream in enumerate(streams)
    )
    threading.Thread(target=_feed, args=(channel, stdin), name="stdin", daemon=True).start()
    complaints = threading.Thread(
        target=_pass_on, args=(channel.recv_stderr, stderr), name="stderr", daemon=True
    )
    complaints.start()
    if not _pass_on(channel.recv, stdout):
        return _BROKEN_PIPE
    complaints.join()
    return channel.recv_exit_status()


def _feed(channel: Channel, stdin: int) -> None:
    """Give the program what this process is given."""
    with suppress(OSError):
        while data := _read(stdin):
            channel.sendall(data)
    # Also when the program has ended: what it has started may read on.
    with suppress(OSError):
        channel.shutdown_write()


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _PIECE)
    except OSError:  # of a terminal that others have (EIO)
        return b""


def _pass_on(receive: Callable[[int], bytes], fd: int) -> bool:
    """Write what the program says, to its end; whether that was taken."""
    while data := receive(_PIECE):
        while data:
            try:
                data = data[os.write(fd, data) :]
            except OSError:
                return False
    return True
