# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts that were made workers from here, over SSH: what each lacks is found by asking it."""

import hashlib
import io
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fabric
import paramiko
from invoke.exceptions import Failure
from pydantic import BaseModel, ConfigDict, TypeAdapter

from lab.artifacts.book import Book
from lab.artifacts.sftp import KnownHosts
from lab.errors import HostError
from lab.host.command import tail

PACKAGES = (
    "qemu-system-x86", "mmdebstrap", "erofs-utils", "kmod", "zstd", "lz4", "openssh-client",
    "rsync", "mount", "git", "uidmap", "debian-archive-keyring", "python3-venv",
)  # fmt: skip
"""Of Debian and Ubuntu; README.md has the same."""

PLACE = "~/.local/share/lab-worker"
_DEADLINE = 60
_LONG = 1800
"""Seconds to install packages."""

Say = Callable[[str], None]


class RemoteHost(BaseModel):
    """A host that is a worker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    """USER@HOST[:PORT], as OpenSSH's configuration may know it too."""
    guests: int = 1
    labels: tuple[str, ...] = ()


BOOK: Book[RemoteHost] = Book("host", "host", TypeAdapter(RemoteHost))


class Remote:
    """A host on which commands run."""

    def __init__(self, connection: Any, address: str) -> None:
        self._connection = connection
        self._address = address

    def run(self, command: str, deadline: int = _DEADLINE) -> str:
        """What a command of the shell prints.  Raises HostError."""
        found = self._run(command, deadline)
        if found.return_code != 0:
            said = tail(found.stderr or found.stdout)
            raise HostError(
                f"{self._address}: exit status {found.return_code}: {command}", detail=said
            )
        return str(found.stdout)

    def holds(self, command: str) -> bool:
        """Whether a command of the shell ends well.  Raises HostError."""
        return bool(self._run(command, _DEADLINE).return_code == 0)

    def write(self, content: bytes, path: str, mode: str) -> None:
        """A file of its user, whole or not at all.  Raises HostError."""
        home = self.run("printf %s ~")
        where = path.replace("~", home, 1)
        self.run(f"mkdir -p {shlex.quote(where.rpartition('/')[0])}; umask 077; "
                 f": >{shlex.quote(where)}.new")  # fmt: skip
        try:
            self._connection.put(io.BytesIO(content), f"{where}.new")
        except (OSError, paramiko.SSHException) as error:
            raise HostError(f"{self._address}: {where}: {error}") from error
        quoted = shlex.quote(where)
        self.run(f"chmod {mode} {quoted}.new && mv {quoted}.new {quoted}")

    def _run(self, command: str, deadline: int) -> Any:
        try:
            return self._connection.run(
                command, hide=True, warn=True, in_stream=False, timeout=deadline
            )
        except (OSError, EOFError, paramiko.SSHException, Failure) as error:
            said = str(error) or type(error).__name__
            raise HostError(f"{self._address}: {command}: {tail(said, 3)}") from error


@contextmanager
def connected(address: str) -> Iterator[Remote]:
    """A connection to a host whose key is known.  Raises HostError."""
    connection = fabric.Connection(address, connect_timeout=20)
    # fabric's client trusts every key.
    connection.client.set_missing_host_key_policy(KnownHosts())
    try:
        connection.open()
    except HostError:
        raise
    except (OSError, EOFError, paramiko.SSHException) as error:
        said = str(error) or type(error).__name__
        raise HostError(f"{address}: {said}", hint=f"does `ssh {address}` work?") from error
    try:
        yield Remote(connection, address)
    finally:
        connection.close()


def install_packages(remote: Remote, say: Say) -> None:
    """What the distribution has.  Raises HostError."""
    known = remote.run(". /etc/os-release; echo $ID $ID_LIKE").split()
    if not {"debian", "ubuntu"} & set(known):
        raise HostError(
            f"neither Debian nor Ubuntu: {' '.join(known)}",
            hint="install the lab there by hand (README.md), then `lab worker --install`",
        )
    said = remote.run(
        f"dpkg-query --show --showformat '${{Package}} ${{db:Status-Status}}\\n' "
        f"{' '.join(PACKAGES)} 2>/dev/null || true"
    )
    there = {line.split()[0] for line in said.splitlines() if line.endswith(" installed")}
    if missing := [name for name in PACKAGES if name not in there]:
        sudo = "" if remote.run("id -u").strip() == "0" else "sudo -n "
        say(f"packages, with {'sudo apt-get' if sudo else 'apt-get as root'}: {' '.join(missing)}")
        remote.run(f"{sudo}apt-get update -q", _LONG)
        install = "apt-get install -q -y --no-install-recommends"
        remote.run(f"{sudo}env DEBIAN_FRONTEND=noninteractive {install} {' '.join(missing)}", _LONG)


def install_lab(remote: Remote, wheel: Path, say: Say) -> None:
    """The lab in a Python environment of its own.  Raises HostError."""
    content = wheel.read_bytes()
    stamp = hashlib.sha256(content).hexdigest()
    if remote.holds(f"test -e {PLACE}/{stamp}"):
        return
    if not remote.holds("python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'"):
        raise HostError(f"{remote.run('python3 --version').strip()} is too old: 3.11 is needed")
    say(f"the lab: {wheel.name}")
    remote.write(content, f"{PLACE}/{wheel.name}", "644")
    remote.run(f"rm -rf {PLACE}/venv && python3 -m venv {PLACE}/venv", _LONG)
    pip = f"{PLACE}/venv/bin/pip --quiet --disable-pip-version-check"
    remote.run(f"{pip} install {PLACE}/{shlex.quote(wheel.name)}", _LONG)
    remote.run(f"touch {PLACE}/{stamp}")


def install_unit(
    remote: Remote, name: str, machine: RemoteHost, environment: dict[str, str], say: Say
) -> None:
    """The worker, by `lab worker --install` there.  Raises HostError."""
    options = ["--name", name, "--guests", str(machine.guests)]
    if machine.labels:
        options += ["--labels", ",".join(machine.labels)]
    told = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items())
    # Neither on a command line, where everybody sees it, nor left behind.
    remote.write(told.encode(), f"{PLACE}/environment", "600")
    told_once = f". {PLACE}/environment; rm {PLACE}/environment"
    command = f"{told_once}; {LAB} worker --install {shlex.join(options)}"
    for line in remote.run(command, _LONG).splitlines():
        say(line)


LAB = f"{PLACE}/venv/bin/lab"


def remove(remote: Remote, say: Say) -> None:
    """The worker and the lab, but not its images, kernels and runs.  Raises HostError."""
    if remote.holds(f"test -e {LAB}"):
        for line in remote.run(f"{LAB} worker --uninstall", _LONG).splitlines():
            say(line)
        remote.run(f"rm -rf {PLACE}")
        say(f"{PLACE}: removed")
