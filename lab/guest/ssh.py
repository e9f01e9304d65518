# SPDX-License-Identifier: GPL-2.0-or-later
"""One SSH connection to a guest, kept open; argv lists all the way, quoted in one place."""

import logging
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

import paramiko

from lab.errors import GuestError
from lab.guest.keys import Keys

# The library logs, with tracebacks, what it also raises.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

_WRITE = 'mkdir -p "${1%/*}" && cat >"$1"'


@dataclass(frozen=True)
class Result:
    """How a command in the guest ended."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def require_success(self) -> None:
        """Raise GuestError unless the exit status is 0."""
        # pytest shows the line of the test instead.
        __tracebackhide__ = True
        if self.status != 0:
            raise GuestError(
                f"exit status {self.status} in the guest: {shlex.join(self.argv)}",
                detail=self.stderr or self.stdout,
            )


class Session:
    """An SSH connection to a guest; use it as a context manager."""

    def __init__(self, port: int, keys: Keys, *, deadline: float) -> None:
        """Connect and authenticate within `deadline` seconds.  Raises GuestError."""
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), deadline)
            self._transport = paramiko.Transport(self._socket)
            self._transport.banner_timeout = deadline
            self._transport.handshake_timeout = deadline
            self._transport.auth_timeout = deadline
            self._transport.start_client(timeout=deadline)
            self._check_host_key(keys)
            self._transport.auth_publickey("root", paramiko.Ed25519Key(filename=str(keys.client)))
        except (OSError, EOFError, paramiko.SSHException) as error:
            self.close()
            raise GuestError(
                f"SSH to 127.0.0.1:{port}: {error or type(error).__name__}",
                hint="lab console shows what the guest does",
            ) from error

    def _check_host_key(self, keys: Keys) -> None:
        expected = keys.host.with_suffix(".pub").read_text().split()[1]
        if self._transport.get_remote_server_key().get_base64() != expected:
            raise paramiko.SSHException("what listens there is not a guest of this lab")

    @property
    def is_open(self) -> bool:
        """Whether neither end has closed it."""
        return bool(self._transport.is_active())

    def channel(self, argv: Sequence[str]) -> paramiko.Channel:
        """Start a command and return the channel to its stdin and stdout."""
        try:
            channel = self._transport.open_session(timeout=30)
            channel.exec_command(shlex.join(argv))
        except (OSError, EOFError, paramiko.SSHException) as error:
            if isinstance(error, EOFError | ConnectionError):
                self.close()  # the library's own thread may not have noticed yet
            said = str(error) or "the guest closed the connection"
            raise GuestError(f"SSH: cannot start {shlex.join(argv)}: {said}") from error
        return channel

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: float,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> Result:
        """Run a command to its end, with `stdin` to read unless that is None.

        Raises GuestError when it takes longer than `deadline` seconds, when the guest goes
        away, and, if `check`, when its exit status is not 0.
        """
        channel = self.channel(argv)
        end = time.monotonic() + deadline
        try:
            if stdin is not None:
                _provide(channel, argv, stdin, deadline)
            result = _collect(channel, tuple(argv), end)
        finally:
            channel.close()
        if check:
            result.require_success()
        return result

    def write(self, path: str, text: str, *, deadline: float = 60.0) -> None:
        """Write a file, and make the directory that it is to be in.  Raises GuestError."""
        self.run(["sh", "-c", _WRITE, "sh", path], deadline=deadline, stdin=text.encode())

    def close(self) -> None:
        """Close the connection; the guest is not touched."""
        if hasattr(self, "_transport"):
            self._transport.close()
        elif hasattr(self, "_socket"):
            self._socket.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _provide(channel: paramiko.Channel, argv: Sequence[str], stdin: bytes, deadline: float) -> None:
    """Have a command read `stdin` to its end; one that does not wait for it is its own affair."""
    channel.settimeout(deadline)
    try:
        channel.sendall(stdin)
        channel.shutdown_write()
    except TimeoutError as error:
        raise GuestError(f"no end within its deadline in the guest: {shlex.join(argv)}") from error
    except OSError:
        return


def _collect(channel: paramiko.Channel, argv: tuple[str, ...], end: float) -> Result:
    out, err = bytearray(), bytearray()
    channel.settimeout(0.05)
    # Both streams must be drained while it runs: either, when full, would stop the command.
    while not (channel.exit_status_ready() and channel.eof_received):
        _drain(channel, out, err)
        if channel.closed and not channel.exit_status_ready():
            raise GuestError(f"the guest went away during: {shlex.join(argv)}")
        if time.monotonic() > end:
            raise GuestError(f"no end within its deadline in the guest: {shlex.join(argv)}")
    while channel.recv_ready() or channel.recv_stderr_ready():
        _drain(channel, out, err)
    status = channel.recv_exit_status()
    return Result(argv, status, out.decode(errors="replace"), err.decode(errors="replace"))


def _drain(channel: paramiko.Channel, out: bytearray, err: bytearray) -> None:
    if channel.recv_stderr_ready():
        err += channel.recv_stderr(65536)
    try:
        out += channel.recv(65536)
    except TimeoutError:
        return
