# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab host add` on a real OpenSSH server of the tests' own, whose user has an empty home.

No systemd runs there: `systemctl` and `loginctl` write down what they are asked.  The lab there is
this checkout's, and takes its user for an ordinary one, so that nothing is written outside that
home; with LAB_HOST_ADD it is a wheel, installed by pip as on any host, for a user that is made for
the test.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.errors import HostError
from lab.farm.hosts import machines, unit
from lab.farm.hosts.machines import RemoteHost
from tests import ROOT
from tests.postgres import free_port

WHOLE = "LAB_HOST_ADD" in os.environ


@dataclass(frozen=True)
class Elsewhere:
    """A host, with the home of its user."""

    address: str
    home: Path

    @property
    def asked(self) -> list[str]:
        """What systemd was asked."""
        path = self.home / "asked"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def host() -> Iterator[Elsewhere]:
    server = shutil.which("sshd", path="/usr/sbin:/sbin")
    if server is None or os.geteuid() != 0:
        pytest.skip("needs root and sshd: apt-get install openssh-server")
    place = Path(tempfile.mkdtemp(prefix="lab-host-"))
    running, user = None, "root"
    try:
        place.chmod(0o755)
        home, bin_ = place / "home", place / "bin"
        for directory in (home, bin_):
            directory.mkdir()
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name],
                           check=True, timeout=60)  # fmt: skip
        for name in ("systemctl", "loginctl"):
            (bin_ / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{home}/asked\necho active\n')
            (bin_ / name).chmod(0o755)
        port = free_port()
        if WHOLE:
            user = f"lab-host-{os.getpid()}"
            # A password that nobody has; with none at all sshd takes the account for a locked one.
            subprocess.run(["useradd", "-M", "-d", home, "-s", "/bin/sh", "-p", "*", user],
                           check=True, timeout=60)  # fmt: skip
            shutil.chown(home, user)
        (place / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place / 'host'}\nStrictModes no\n"
            f"AuthorizedKeysFile {place / 'user.pub'}\nPidFile none\nUsePAM no\n"
            f"SetEnv HOME={home} USER={user} PATH={bin_}:/usr/local/bin:/usr/bin:/bin:/usr/sbin\n"
            "Subsystem sftp internal-sftp\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        running = subprocess.Popen([server, "-D", "-f", place / "config"],
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        _know(place, port)
        yield Elsewhere(f"{user}@127.0.0.1:{port}", home)
    finally:
        if running is not None:
            running.send_signal(signal.SIGTERM)
            running.wait(30)
        if WHOLE:
            subprocess.run(["userdel", "-f", user], check=True, timeout=60)
        shutil.rmtree(place, ignore_errors=True)


def _know(place: Path, port: int) -> None:
    """Have this test's user know the host, and have a key for it, once it listens."""
    mine = Path.home() / ".ssh"
    mine.mkdir(mode=0o700)
    shutil.copy(place / "user", mine / "id_ed25519")
    kind, key, *_ = (place / "host.pub").read_text().split()
    (mine / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    end = time.monotonic() + 30
    while subprocess.run(["ssh-keyscan", "-p", str(port), "127.0.0.1"], check=False, timeout=30,
                         capture_output=True).stdout == b"":  # fmt: skip
        assert time.monotonic() < end


def wheel(host: Elsewhere, tmp_path: Path) -> Path:
    """The lab for the host: a wheel, or a file in its place whose lab is this checkout's."""
    if WHOLE:
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        subprocess.run([*pip, "-w", tmp_path, ROOT], check=True, timeout=300)
        return next(tmp_path.glob("*.whl"))
    made = tmp_path / "copy_offload_lab-0-py3-none-any.whl"
    made.write_bytes(b"in the place of a wheel")
    place = host.home / ".local/share/lab-worker"
    (place / "venv/bin").mkdir(parents=True)
    (place / "venv/bin/lab").write_text(
        f"#!{Path(sys.executable).resolve()} -I\n"
        f"import os, sys\nsys.path[:0] = {[str(ROOT), *filter(None, sys.path)]!r}\n"
        "os.geteuid = lambda: 1000\nfrom lab.__main__ import main\nmain()\n"
    )
    (place / "venv/bin/lab").chmod(0o755)
    stamp = subprocess.run(["sha256sum", made], capture_output=True, text=True, check=True).stdout
    (place / stamp.split()[0]).touch()
    return made


def added(host: Elsewhere, made: Path, machine: RemoteHost) -> list[str]:
    """What `lab host add` said it did."""
    said: list[str] = []
    environment = {"LAB_STORE": "postgresql://lab:it's secret@db/lab"}
    with machines.connected(host.address) as remote:
        machines.install_packages(remote, said.append)
        machines.install_lab(remote, made, said.append)
        machines.install_unit(remote, "big", machine, environment, said.append)
    return said


def test_a_host_becomes_a_worker_and_again_changes_nothing(host: Elsewhere, tmp_path: Path) -> None:
    made, machine = (
        wheel(host, tmp_path),
        RemoteHost(address=host.address, guests=3, labels=("a b",)),
    )
    said = added(host, made, machine)
    kept = host.home / ".config/lab/worker.env"
    place = host.home / ".config/systemd/user/lab-worker.service"
    assert f"{kept}: written" in said, said
    assert f"{place}: written" in said
    assert kept.read_text() == 'LAB_STORE="postgresql://lab:it\'s secret@db/lab"\n'
    assert kept.stat().st_mode & 0o777 == 0o600
    text = place.read_text()
    assert "-m lab worker --name big --guests 3 --labels 'a b'\n" in text
    assert f"EnvironmentFile={kept}\n" in text
    user = "systemctl --user"
    assert host.asked == [
        f"{user} daemon-reload", f"{user} enable lab-worker.service",
        f"{user} restart lab-worker.service", "loginctl enable-linger",
    ]  # fmt: skip
    assert not (host.home / ".local/share/lab-worker/environment").exists()
    before = len(host.asked)
    again = added(host, made, machine)
    assert [line for line in again if "linger" not in line] == []
    assert [line for line in host.asked[before:] if "linger" not in line] == []
    changed = added(host, made, machine.model_copy(update={"guests": 4}))
    assert f"{place}: written" in changed
    with machines.connected(host.address) as remote:
        machines.remove(remote, said.append)
        machines.remove(remote, said.append)
    assert not place.exists()
    assert not kept.exists()
    assert not (host.home / ".local/share/lab-worker").exists()


def test_a_host_whose_key_is_not_known(host: Elsewhere) -> None:
    (Path.home() / ".ssh/known_hosts").write_text("")
    with (
        pytest.raises(HostError, match="its host key is not known"),
        machines.connected(host.address),
    ):
        pass


def test_a_command_that_fails_there(host: Elsewhere) -> None:
    with machines.connected(host.address) as remote:
        with pytest.raises(HostError) as caught:
            remote.run("echo no room >&2; exit 7")
        assert "exit status 7" in str(caught.value)
        assert "no room" in str(caught.value)
        assert not remote.holds("false")
        remote.write(b"\0bytes", "~/a b/file", "640")
    assert (host.home / "a b/file").read_bytes() == b"\0bytes"


@pytest.mark.parametrize("root", [True, False])
def test_the_unit_is_one(root: bool, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze")
    path = tmp_path / unit.NAME
    path.write_text(unit.unit([sys.executable, "-m", "lab", "worker", "--labels", "50%, $x"],
                              unit.places(root=root)))  # fmt: skip
    done = subprocess.run([analyze, "verify", path], capture_output=True, text=True, check=False,
                          timeout=60)  # fmt: skip
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.NAME in line]) == (
        0, [],
    ), done.stderr  # fmt: skip
    assert "'50%%, $$x'" in path.read_text()
    assert "@" not in path.read_text().partition("[Unit]")[2]
