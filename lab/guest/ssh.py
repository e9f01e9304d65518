# SPDX-License-Identifier: GPL-2.0-or-later
"""One SSH connection to a guest, kept open; what is started is quoted in one place."""

import logging
import shlex
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import paramiko

from lab.errors import GuestError
from lab.guest.keys import Keys
from lab.guest.session import Channel, Session

# The library logs, with tracebacks, what it also raises.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


class SshChannel:
    """A program started over SSH; see session.Channel.  What breaks it is an OSError, as anywhere:
    who uses it need not import paramiko, which takes longer than the lab itself."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self.settimeout, self.close = channel.settimeout, channel.close
        self.recv, self.recv_ready = channel.recv, channel.recv_ready
        self.recv_stderr = channel.recv_stderr
        self.recv_stderr_ready = channel.recv_stderr_ready
        self.exit_status_ready = channel.exit_status_ready
        self.recv_exit_status = channel.recv_exit_status

    @property
    def closed(self) -> bool:
        """Whether nothing goes either way any more."""
        return bool(self._channel.closed)

    @property
    def eof_received(self) -> bool:
        """Whether nothing more comes."""
        return bool(self._channel.eof_received)

    def sendall(self, data: bytes, /) -> None:
        """Give bytes to its stdin.  Raises OSError."""
        with _as_oserror():
            self._channel.sendall(data)

    def shutdown_write(self) -> None:
        """End its stdin.  Raises OSError."""
        with _as_oserror():
            self._channel.shutdown_write()


@contextmanager
def _as_oserror() -> Iterator[None]:
    """What sends may have to wait for new keys, and those may not come."""
    try:
        yield
    except paramiko.SSHException as error:
        raise ConnectionError(str(error)) from error


class SshSession(Session):
    """An SSH connection to a guest."""

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
        # Whatever the library's own thread met in what the guest said is raised here.
        except Exception as error:
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

    def channel(self, argv: Sequence[str]) -> Channel:
        """Start a command and return the channel to its stdin and stdout."""
        try:
            channel = self._transport.open_session(timeout=30)
            channel.exec_command(shlex.join(argv))
        except (OSError, EOFError, paramiko.SSHException) as error:
            if isinstance(error, EOFError | ConnectionError):
                self.close()  # the library's own thread may not have noticed yet
            said = str(error) or "the guest closed the connection"
            raise GuestError(f"SSH: cannot start {shlex.join(argv)}: {said}") from error
        return SshChannel(channel)

    def close(self) -> None:
        """Close the connection; the guest is not touched."""
        if hasattr(self, "_transport"):
            self._transport.close()
        elif hasattr(self, "_socket"):
            self._socket.close()
