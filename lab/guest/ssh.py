# SPDX-License-Identifier: GPL-2.0-or-later
"""One SSH connection to a guest, kept open; what is started is quoted in one place."""

import logging
import shlex
import socket
from collections.abc import Sequence

import paramiko

from lab.errors import GuestError
from lab.guest.keys import Keys
from lab.guest.session import Channel, Session

# The library logs, with tracebacks, what it also raises.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


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
        return channel

    def close(self) -> None:
        """Close the connection; the guest is not touched."""
        if hasattr(self, "_transport"):
            self._transport.close()
        elif hasattr(self, "_socket"):
            self._socket.close()
