# SPDX-License-Identifier: GPL-2.0-or-later
"""SFTP as fsspec has it, with host keys that are known, and deadlines."""

from pathlib import Path
from typing import Any

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

from lab.errors import HostError

_KNOWN = (Path("/etc/ssh/ssh_known_hosts"), Path("~/.ssh/known_hosts"))
"""Where OpenSSH has them (ssh(1), FILES)."""

_DEADLINE = 30.0
"""Seconds to connect, and for each answer."""


class KnownHosts(paramiko.MissingHostKeyPolicy):
    """Refuses a host whose key is in none of OpenSSH's files.

    fsspec makes a client that has read none of them, and by default trusts every key.
    """

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        """Raise HostError unless the key is known."""
        known = paramiko.HostKeys()
        for path in map(Path.expanduser, _KNOWN):
            if path.is_file():
                known.load(str(path))
        if not known.check(hostname, key):
            what = "not the known one" if known.lookup(hostname) else "not known"
            raise HostError(
                f"{hostname}: its host key is {what}",
                hint=f"connect once with ssh {hostname}, and compare the key",
            )


class PinnedSftp(SFTPFileSystem):  # type: ignore[misc]
    """Files over SFTP, on hosts whose keys are known."""

    @classmethod
    def options(cls, url: str) -> dict[str, Any]:
        """What a URL asks for, as the constructor takes it."""
        return {
            **cls._get_kwargs_from_urls(url),
            "host_key_policy": KnownHosts(), "skip_instance_cache": True,
            "timeout": _DEADLINE, "banner_timeout": _DEADLINE, "auth_timeout": _DEADLINE,
        }  # fmt: skip

    def _connect(self) -> None:
        super()._connect()
        self.ftp.get_channel().settimeout(_DEADLINE)
