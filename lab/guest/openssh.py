# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest as plain OpenSSH sees it: the options for ssh, and the same as a configuration."""

import re
from pathlib import Path

from lab.guest import keys, registry
from lab.guest.registry import Record
from lab.host import dirs

CONFIG = "ssh_config"
"""In a guest's directory: its stanza, which goes with it."""


def settings(record: Record) -> dict[str, str]:
    """ssh_config(5) keywords that reach a guest without a prompt and without a user's files."""
    found = keys.of(registry.directory(record.name))
    return {
        "HostName": "127.0.0.1",
        "Port": str(record.port),
        "User": "root",
        "IdentityFile": _quoted(str(found.client)),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": _quoted(str(found.known_hosts)),
        "HostKeyAlias": record.name,
        "StrictHostKeyChecking": "yes",
        # The cheapest key exchange: under emulation the others cost half a second.
        "KexAlgorithms": "curve25519-sha256",
        "LogLevel": "ERROR",
    }


def options(record: Record) -> list[str]:
    """Arguments for ssh(1); no configuration file is read."""
    words = ["-F", "none"]
    for keyword, value in settings(record).items():
        words += ["-o", f"{keyword}={value}"]
    return words


def stanza(record: Record) -> str:
    """A Host section for ssh -F."""
    lines = [f"  {keyword} {value}" for keyword, value in settings(record).items()]
    return "\n".join([f"Host {record.name}", *lines, ""])


def all_guests() -> Path:
    """A configuration for every guest that there will be, for ssh -F and for Include; made at first
    use.

    `ssh -F <(…)` would be empty: ssh closes the descriptors that it was not told of before it reads
    (closefrom() in its main()).
    """
    path = dirs.state("ssh") / "config"
    # A pattern anyway (glob(7)).  Whether % and $ are expanded depends on the release of OpenSSH.
    guests = re.sub(r"[%$*?\[\]\"\\]", "?", str(dirs.state("guests")))
    text = f'Include "{guests}/*/{CONFIG}"\n'
    if not path.exists() or path.read_text() != text:
        _write(path, text)
    return path


def keep(directory: Path, record: Record) -> None:
    """Put a guest's stanza where all_guests() has it included."""
    _write(directory / CONFIG, stanza(record))
    all_guests()


def _write(path: Path, text: str) -> None:
    """Put a file in place, atomically; ssh reads none that others may write."""
    new = path.with_name(f"{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)


def _quoted(path: str) -> str:
    """ssh splits these values at spaces and expands % and ~ in them."""
    return '"' + path.replace("%", "%%") + '"'
