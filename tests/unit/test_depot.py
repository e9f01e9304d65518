# SPDX-License-Identifier: GPL-2.0-or-later
"""Artifacts that travel: through a directory, and through a real OpenSSH server by SFTP."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.artifacts import cache, depot
from lab.artifacts.cache import Artifact
from lab.artifacts.depot import Depot
from lab.errors import HostError, UsageError
from lab.host import dirs
from tests.postgres import free_port

CONTENT = os.urandom(3 << 20)


class Maker:
    """Makes an artifact, and knows how often."""

    def __init__(self) -> None:
        self.made = 0

    def build(self, directory: Path) -> dict[str, str]:
        self.made += 1
        (directory / "root.erofs").write_bytes(CONTENT)
        (directory / "modules").mkdir()
        (directory / "modules/early").write_text("nvme\n")
        return {"package": "1.2"}


def ensured(maker: Maker, kind: str = "image") -> tuple[Artifact, list[str]]:
    said: list[str] = []
    made = cache.ensure(kind, "trixie", {"a": "b"}, maker.build, said.append, room=0)
    return made, said


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Goes to another host: another cache."""

    def go(host: str) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / host))

    return go


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The depot, a directory."""
    monkeypatch.setenv("LAB_ARTIFACTS", str(tmp_path / "depot"))
    return tmp_path / "depot"


def test_what_one_host_makes_another_fetches(place: Path, elsewhere: Callable[[str], None]) -> None:
    maker = Maker()
    elsewhere("one")
    ensured(maker)
    elsewhere("two")
    made, said = ensured(maker)
    assert maker.made == 1
    assert (made.path / "root.erofs").read_bytes() == CONTENT
    assert (made.path / "modules/early").read_text() == "nvme\n"
    assert made.manifest().versions == {"package": "1.2"}
    assert any("fetch 3 MiB" in line for line in said)
    assert list(dirs.cache("incoming").glob("[!.]*[!k]")) == []
    names = {path.name for path in place.rglob("*") if path.is_file()}
    assert not [name for name in names if ".new-" in name]


def test_what_is_of_one_host_stays(place: Path) -> None:
    ensured(Maker(), "checkpoint")
    assert not place.exists()


def test_without_a_depot_everything_is_as_before(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_ARTIFACTS")
    ensured(Maker())
    assert not place.exists()


def blob(place: Path) -> Path:
    (found,) = (place / "blobs").iterdir()
    return found


def test_what_is_damaged_there_is_made_again_and_said(
    place: Path, elsewhere: Callable[[str], None]
) -> None:
    maker = Maker()
    elsewhere("one")
    ensured(maker)
    with blob(place).open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"other")
    elsewhere("two")
    made, said = ensured(maker)
    assert maker.made == 2
    assert (made.path / "root.erofs").read_bytes() == CONTENT
    assert any("damaged: its sum is" in line for line in said)
    # And it is whole again, for the third.
    elsewhere("three")
    ensured(maker)
    assert maker.made == 2


def test_what_was_broken_off_goes_on_where_it_was(
    place: Path, elsewhere: Callable[[str], None]
) -> None:
    elsewhere("one")
    ensured(Maker())
    whole = blob(place).read_bytes()
    elsewhere("two")
    dirs.cache("incoming").joinpath(blob(place).name).write_bytes(whole[: 2 << 20])
    # Were it read from its beginning, the damage would be seen.
    with blob(place).open("r+b") as file:
        file.write(b"other")
    maker = Maker()
    ensured(maker)
    assert maker.made == 0


def test_a_depot_that_is_not_there_costs_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_ARTIFACTS", "sftp://127.0.0.1:1/depot")
    maker = Maker()
    _, said = ensured(maker)
    assert maker.made == 1
    assert any(line.startswith("no depot: sftp://127.0.0.1:1/depot: cannot open") for line in said)


def test_a_protocol_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((HostError, UsageError), match="nope://x"):
        Depot("nope://x/y")


def test_who_builds_has_the_lease_and_who_waited_looks_again(
    place: Path, elsewhere: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, held = Maker(), []

    @contextmanager
    def lease(name: str, _progress: Any) -> Iterator[None]:
        held.append(name)
        if len(held) == 1:
            # While this host waits, another makes it.
            elsewhere("two")
            ensured(maker)
            elsewhere("one")
        yield

    monkeypatch.setattr(depot, "_lease", [lease])
    elsewhere("one")
    ensured(maker)
    assert maker.made == 1
    assert len(held) == 2
    assert held[0] == held[1]
    assert held[0].startswith("image/trixie-")


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """An OpenSSH server of the test's own: the URL of its depot, and the file of known hosts."""
    server = shutil.which("sshd", path="/usr/sbin:/sbin")
    if server is None:
        pytest.skip("no sshd is installed: sudo apt-get install openssh-server")
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name],
                       check=True, timeout=60)  # fmt: skip
    (keys / "authorized").write_bytes((keys / "user.pub").read_bytes())
    port = free_port()
    config = keys / "config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys / 'host'}\nStrictModes no\n"
        f"AuthorizedKeysFile {keys / 'authorized'}\nPidFile none\nUsePAM no\n"
        "Subsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    running = subprocess.Popen([server, "-D", "-f", config], stderr=subprocess.DEVNULL)
    known = Path.home() / ".ssh/known_hosts"
    known.parent.mkdir(mode=0o700)
    (known.parent / "id_ed25519").write_bytes((keys / "user").read_bytes())
    (known.parent / "id_ed25519").chmod(0o600)
    kind, key, *_ = (keys / "host.pub").read_text().split()
    known.write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    end = time.monotonic() + 30
    while subprocess.run(["ssh-keyscan", "-p", str(port), "127.0.0.1"], check=False, timeout=30,
                         capture_output=True).stdout == b"":  # fmt: skip
        assert time.monotonic() < end
    try:
        yield f"sftp://root@127.0.0.1:{port}{tmp_path}/remote", known
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)


@pytest.mark.skipif(os.geteuid() != 0, reason="a server of an ordinary user's lets nobody in")
def test_by_sftp_and_only_to_a_host_whose_key_is_known(
    sshd: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    elsewhere: Callable[[str], None],
) -> None:
    url, known = sshd
    monkeypatch.setenv("LAB_ARTIFACTS", url)
    maker = Maker()
    elsewhere("one")
    _, said = ensured(maker)
    assert not [line for line in said if "stays here" in line or "no depot" in line], said
    elsewhere("two")
    ensured(maker)
    assert maker.made == 1
    assert not list((tmp_path / "remote").rglob("*.new-*"))
    right = known.read_text()
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    kind, key, *_ = other.with_suffix(".pub").read_text().split()
    for text, what in (("", "is not known"), (f"{right.split()[0]} {kind} {key}\n", "not")):
        known.write_text(text)
        with pytest.raises(HostError, match=what):
            Depot(url)
