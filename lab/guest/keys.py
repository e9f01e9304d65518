# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's SSH keys: one for the user, one that every guest shows as its host key.

Both are made once per user and kept in the state directory: a guest need not generate keys (a
second under emulation), and its host key is known before it boots, so no prompt is ever needed.
"""

from dataclasses import dataclass
from pathlib import Path

from lab.host import dirs, lock
from lab.host.command import run

HOST_ALIAS = "lab-guest"
"""The name under which known_hosts knows every guest."""


@dataclass(frozen=True)
class Keys:
    """Paths of the two private keys (their public halves end in .pub) and of known_hosts."""

    client: Path
    host: Path
    known_hosts: Path


def ensure() -> Keys:
    """The lab's keys, made at first use."""
    directory = dirs.state("ssh")
    keys = Keys(
        directory / "id_ed25519", directory / "ssh_host_ed25519_key", directory / "known_hosts"
    )
    if keys.known_hosts.exists():
        return keys
    with lock.held(directory / "lock", deadline=30):
        if not keys.known_hosts.exists():
            _generate(keys)
    return keys


def _generate(keys: Keys) -> None:
    for path, comment in ((keys.client, "lab"), (keys.host, HOST_ALIAS)):
        path.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], deadline=30)
    public = keys.host.with_suffix(".pub").read_text().split()
    new = keys.known_hosts.with_suffix(".new")
    new.write_text(f"{HOST_ALIAS} {public[0]} {public[1]}\n")
    new.replace(keys.known_hosts)
