# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest as fabric has it: commands, files, tunnels over one SSH connection.

Nothing of the user's is read: neither ~/.ssh nor an agent nor fabric's own configuration files.
"""

import shlex
from typing import Any

import fabric
import paramiko

from lab.errors import GuestError
from lab.guest.keys import Keys

_DEADLINE = 60.0
"""Seconds for each step of the way in; under emulation a handshake may take several."""

_SETTINGS: dict[str, Any] = {
    # Nobody types: what has no terminal, and pytest, could not even be asked.
    "run": {"in_stream": False},
    "user": "root",
}


class Connection(fabric.Connection):  # type: ignore[misc]  # fabric has no types
    """A fabric.Connection whose user is root: `sudo` asks for no password, and the guest needs no
    program of that name."""

    def sudo(self, command: str, **kwargs: Any) -> Any:
        """Run a command as root, or as `user=`; whatever else fabric's takes."""
        kwargs.pop("password", None)
        if user := kwargs.pop("user", None):
            command = shlex.join(["runuser", "-u", user, "--", "sh", "-c", command])
        return self.run(command, **kwargs)


def connect(port: int, keys: Keys) -> Connection:
    """A connection that is open, to the guest whose SSH server listens on this loopback port.

    Raises GuestError when that does not answer, or is not a guest of this lab.
    """
    config = fabric.Config(overrides=_SETTINGS, ssh_config=paramiko.SSHConfig(), lazy=True)
    connection = Connection(
        "127.0.0.1", port=port, config=config, connect_timeout=_DEADLINE,
        connect_kwargs={
            "pkey": paramiko.Ed25519Key(filename=str(keys.client)),
            "allow_agent": False,
            "look_for_keys": False,
            "banner_timeout": _DEADLINE,
            "auth_timeout": _DEADLINE,
            "channel_timeout": _DEADLINE,
        },
    )  # fmt: skip
    public = paramiko.Ed25519Key(filename=str(keys.host))
    client = connection.client
    client.get_host_keys().add(f"[127.0.0.1]:{port}", public.get_name(), public)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        connection.open()
    except (OSError, EOFError, paramiko.SSHException) as error:
        connection.close()
        raise GuestError(
            f"SSH to 127.0.0.1:{port}: {error or type(error).__name__}",
            hint="lab console shows what the guest does",
        ) from error
    return connection
