# SPDX-License-Identifier: GPL-2.0-or-later
"""What is found of the programs that build: on a PATH that lacks some, or has some that fail."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.artifacts import debian
from lab.doctor import tools
from lab.doctor.finding import Finding, State
from lab.host import command

Place = Callable[..., Path]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Make a PATH of these programs alone; those with a script do what that says."""

    def make(*programs: str, **scripts: str) -> Path:
        place = tmp_path / "bin"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for program in ("sh", "env", *programs):
            there = shutil.which(program, path=os.defpath)
            assert there, f"{program}: this test needs it"
            (place / program).symlink_to(there)
        for name, script in scripts.items():
            program_file = place / name.replace("_", ".")
            program_file.write_text(f"#!/bin/sh\n{script}\n")
            program_file.chmod(0o755)
        monkeypatch.setenv("PATH", str(place))
        # Nothing of the host's: /usr/sbin is looked into as well.
        monkeypatch.setattr(tools, "found", shutil.which)
        monkeypatch.setattr(command, "found", shutil.which)
        return place

    return make


@pytest.mark.parametrize(
    ("check", "said", "state", "fedora"),
    [
        (tools.mmdebstrap, "mmdebstrap, apt-get: not found", State.MISSING, "mmdebstrap apt"),
        (tools.erofs_tools, "mkfs.erofs, dump.erofs, fsck.erofs: not found", State.MISSING,
         "erofs-utils"),
        (tools.depmod, "depmod: not found", State.MISSING, "kmod"),
        (tools.ssh, "ssh: not found", State.DEGRADED, "openssh-clients"),
        (tools.small_programs, "git, lz4, rsync, stdbuf, tar, unshare, zstd: not found",
         State.MISSING, "git lz4 rsync coreutils tar util-linux zstd"),
        (tools.compiler, "kernels from sources: gcc, make, flex, bison, bc, ld, perl: not found",
         State.DEGRADED, "gcc make flex bison bc binutils perl"),
    ],
)  # fmt: skip
def test_what_is_not_installed_is_named_with_what_installs_it(
    path: Place, check: Callable[[], Finding], said: str, state: State, fedora: str
) -> None:
    path()
    found = check()
    assert (found.state, found.said) == (state, said)
    assert found.cure
    assert found.cure.fedora == f"sudo dnf install {fedora}"
    assert found.cure.debian == found.cure.ubuntu
    assert found.cure.debian.startswith("sudo apt-get install ")


def test_versions_are_what_programs_say(path: Place) -> None:
    path(mmdebstrap="echo mmdebstrap 1.3.5", **{"apt-get": "echo 'apt 2.6.1 (amd64)'"})
    found = tools.mmdebstrap()
    assert found.versions == {"mmdebstrap": "1.3.5", "apt": "2.6.1"}
    path(mmdebstrap="exit 1", **{"apt-get": "echo apt"})
    assert tools.mmdebstrap().versions == {"mmdebstrap": "?", "apt": "?"}


def test_erofs_tools_are_tried(path: Place) -> None:
    path(mkfs_erofs="echo 'no lz4 in this build' >&2; exit 1", dump_erofs="", fsck_erofs="")
    found = tools.erofs_tools()
    assert (found.state, found.said) == (State.MISSING, "no lz4 in this build")
    path(mkfs_erofs="exit 0", dump_erofs="echo 'NID TYPE FILENAME'", fsck_erofs="exit 0")
    assert tools.erofs_tools().said == "mkfs.erofs made an image without its file"


@pytest.mark.skipif(shutil.which("mkfs.erofs") is None, reason="no mkfs.erofs")
def test_erofs_tools_that_work() -> None:
    found = tools.erofs_tools()
    assert found.state is State.OK
    assert found.versions["erofs-utils"] in found.said


def test_ssh_is_asked_for_its_version(path: Place) -> None:
    path(ssh="echo OpenSSH_9.2p1 Debian-2 >&2")
    assert tools.ssh().said == "OpenSSH 9.2p1"


def test_depmod_is_tried(path: Place) -> None:
    path(depmod="echo 'ERROR: out of luck' >&2; exit 1")
    found = tools.depmod()
    assert (found.state, found.said) == (State.MISSING, "ERROR: out of luck")


def test_without_debians_keys_apts_own_must_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keyring = tmp_path / "debian-archive-keyring.gpg"
    monkeypatch.setattr(debian, "KEYRING", keyring)
    found = tools.keys()
    assert found.state is State.DEGRADED
    assert found.cure
    assert found.cure.fedora == "sudo dnf install debian-keyring"
    keyring.touch()
    assert tools.keys().state is State.OK


# --- namespaces ---------------------------------------------------------------------------

FORBIDDEN = "echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1"


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user, with sub-ids."""
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr("getpass.getuser", lambda: "me")
    monkeypatch.setattr(debian, "_sub_ids", lambda _table: {"me": 165536})


@pytest.mark.usefixtures("user")
def test_namespaces_that_a_user_may_not_have_are_told_by_distribution(path: Place) -> None:
    path(unshare=FORBIDDEN, newuidmap="")
    found = tools.namespaces()
    assert (found.state, found.said) == (
        State.MISSING, "unshare: unshare failed: Operation not permitted",
    )  # fmt: skip
    assert found.cure
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in found.cure.ubuntu
    assert "user.max_user_namespaces" in found.cure.fedora
    path(unshare="exit 0", newuidmap="")
    assert tools.namespaces().said == "an ordinary user has them"


@pytest.mark.usefixtures("user")
def test_sub_ids_need_their_program_and_a_range(
    path: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path(unshare="exit 0")
    found = tools.namespaces()
    assert found.said == "newuidmap: not found"
    assert found.cure
    assert (found.cure.debian, found.cure.fedora) == (
        "sudo apt-get install uidmap", "sudo dnf install shadow-utils",
    )  # fmt: skip
    path(unshare="exit 0", newuidmap="")
    monkeypatch.setattr(debian, "_sub_ids", lambda _table: {})
    found = tools.namespaces()
    assert found.said == "me has no sub-ids in /etc/subuid and /etc/subgid"
    assert found.cure
    assert found.cure.debian.startswith("sudo usermod --add-subuids ")
    # The pointer to `lab doctor` is for others.
    assert "lab doctor" not in found.cure.debian


def test_root_in_a_container_may_lack_them_too(
    path: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    path(unshare=FORBIDDEN)
    found = tools.namespaces()
    assert found.state is State.MISSING
    assert found.cure
    assert "container" in found.cure.debian
