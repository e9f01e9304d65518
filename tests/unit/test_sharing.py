# SPDX-License-Identifier: GPL-2.0-or-later
"""What others on the same host can reach of a lab; docs/security.md."""

import re
import socket
import stat
import threading
from pathlib import Path

import paramiko
import pytest

from lab.errors import GuestError
from lab.guest import keys
from lab.guest.ssh import SshSession
from lab.host import dirs
from lab.results.run import Run
from lab.vm.argv import network
from tests import ROOT


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_are_for_their_user_alone() -> None:
    # The deepest first, whose making makes those above it.
    made = [dirs.state("guests", "g"), dirs.cache("x", "y")]
    with Run("p", "s") as run:
        made.append(run.directory)
    for path in made:
        own = [path, *path.parents]
        for each in own[: 1 + own.index(next(one for one in own if one.name == "lab"))]:
            assert mode(each) == 0o700, each


def test_private_keys_are_for_their_user_alone(tmp_path: Path) -> None:
    directory = tmp_path / "guest"
    directory.mkdir()
    made = keys.ensure(directory)
    assert (mode(made.client), mode(made.host)) == (0o600, 0o600)


@pytest.mark.parametrize("restrict", ["on", "off"])
def test_the_only_port_is_on_the_loopback(restrict: str) -> None:
    assert re.findall(r"hostfwd=([^,]*)", network(restrict)) == ["tcp:127.0.0.1:0-:22"]


class _Impostor(paramiko.ServerInterface):
    """Takes everybody."""

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        raise AssertionError("nobody may log in here")

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"


def test_an_sshd_with_another_host_key_gets_no_login(tmp_path: Path) -> None:
    guest, other = tmp_path / "guest", tmp_path / "other"
    for directory in (guest, other):
        directory.mkdir()
        keys.ensure(directory)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            transport = paramiko.Transport(client)
            transport.add_server_key(paramiko.Ed25519Key(filename=str(keys.of(other).host)))
            transport.start_server(server=_Impostor(), event=threading.Event())
            transport.join(30)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(GuestError, match="not a guest of this lab"):
            SshSession(server.getsockname()[1], keys.of(guest), deadline=30)


def test_each_promise_names_a_test_that_there_is() -> None:
    text = (ROOT / "docs/security.md").read_text()
    rows = [
        line.rstrip(" |").rpartition("|")[2]
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("| promise")
    ]
    assert len(rows) > 10
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for row in rows:
        named = re.findall(r"`([^`]+)`", row)
        assert named, row
        for name in named:
            there = (ROOT / name).exists() if "/" in name else f"def {name}(" in tests
            assert there, name
