"""A guest as plain OpenSSH sees it: the options for ssh, and the same as a configuration."""

from lab.guest import keys
from lab.guest.registry import Record


def settings(record: Record) -> dict[str, str]:
    """ssh_config(5) keywords that reach a guest without a prompt and without a user's files."""
    found = keys.ensure()
    return {
        "HostName": "127.0.0.1",
        "Port": str(record.port),
        "User": "root",
        "IdentityFile": _quoted(str(found.client)),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": _quoted(str(found.known_hosts)),
        "HostKeyAlias": keys.HOST_ALIAS,
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


def _quoted(path: str) -> str:
    """ssh splits these values at spaces and expands % and ~ in them."""
    return '"' + path.replace("%", "%%") + '"'
