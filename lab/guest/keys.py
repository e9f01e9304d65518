# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH keys: one of the user, by which they come into every guest, and a host key of each guest.

All are made here, and a guest's before it begins: it need not generate any (a second under
emulation), and its host key is known, so no prompt is ever needed.
"""

from dataclasses import dataclass
from pathlib import Path

from lab.host import dirs, lock

CLIENT, HOST, KNOWN_HOSTS = "id_ed25519", "ssh_host_ed25519_key", "known_hosts"


@dataclass(frozen=True)
class Keys:
    """Paths of the private keys of the user and of a guest, whose public halves end in .pub, and of
    a known_hosts that has the guest under its name."""

    client: Path
    host: Path
    known_hosts: Path


def of(directory: Path) -> Keys:
    """The keys for the guest in a directory, which has had its own since it began."""
    return Keys(client(), directory / HOST, directory / KNOWN_HOSTS)


def ensure(directory: Path) -> Keys:
    """The same, made for a guest that begins for the first time."""
    keys = of(directory)
    if not keys.known_hosts.exists():
        _generate(keys.host, directory.name)
        # Last, since it says that all is there.
        name, public = directory.name, _public(keys.host).read_text()
        _write(keys.known_hosts, f"{name} {' '.join(public.split()[:2])}\n".encode())
    return keys


def client() -> Path:
    """The user's key, made once."""
    directory = dirs.state("ssh")
    path = directory / CLIENT
    if not (path.exists() and _public(path).exists()):
        with lock.held(directory / "lock", deadline=30):
            if not (path.exists() and _public(path).exists()):
                _generate(path, "lab")
    return path


def _generate(path: Path, comment: str) -> None:
    """Make a key pair; the public half is there last."""
    # Slow to import, and made once a guest.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.generate()
    _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    _write(_public(path), public + f" {comment}\n".encode())


def _public(path: Path) -> Path:
    return path.with_name(f"{path.name}.pub")


def _write(path: Path, data: bytes) -> None:
    """Put a file in place, atomically, for the user alone."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_bytes(data)
    new.replace(path)
