# SPDX-License-Identifier: GPL-2.0-or-later
"""What mends a host, by distribution, and by what the host says of itself."""

import platform
from pathlib import Path

import pytest

from lab.errors import HostError, LackError
from lab.host import cures
from lab.host.cures import Cure, Distribution

MINT = {"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}
ROCKY = {"ID": "rocky", "ID_LIKE": "rhel centos fedora"}


@pytest.mark.parametrize(
    ("release", "found"),
    [
        ({"ID": "debian"}, Distribution.DEBIAN),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, Distribution.UBUNTU),
        ({"ID": "fedora"}, Distribution.FEDORA),
        (MINT, Distribution.UBUNTU),
        (ROCKY, Distribution.FEDORA),
        ({"ID": "arch"}, None),
        ({}, None),
    ],
)
def test_a_distribution_is_itself_or_what_it_is_like(
    release: dict[str, str], found: Distribution | None
) -> None:
    assert cures.of(release) is found


def test_a_host_without_os_release_is_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "_os_release_cache", None)
    monkeypatch.setattr(platform, "_os_release_candidates", (str(tmp_path / "none"),))
    assert cures.this() is None
    (tmp_path / "os-release").write_text('ID="rocky"\nID_LIKE="rhel centos fedora"\n')
    monkeypatch.setattr(platform, "_os_release_candidates", (str(tmp_path / "os-release"),))
    assert cures.this() is Distribution.FEDORA


def test_packages_are_named_once_and_as_the_distribution_has_them() -> None:
    cure = cures.install("mkfs.erofs", "dump.erofs", "ssh", "unheard-of")
    assert (
        cure.on(Distribution.UBUNTU) == "sudo apt-get install erofs-utils openssh-client unheard-of"
    )
    assert cure.on(Distribution.FEDORA) == "sudo dnf install erofs-utils openssh-clients unheard-of"


def test_an_unknown_host_is_told_all_that_differs() -> None:
    assert Cure("a", "a", "b").on(None) == "Debian: a; Ubuntu: a; Fedora: b"
    assert Cure.anywhere("a").on(None) == "a"


def test_what_a_host_lacks_points_at_the_doctor_once() -> None:
    lack = LackError("no such thing", hint="get it")
    assert (lack.cure, lack.exit_status) == ("get it", HostError.exit_status)
    assert lack.hint == "get it; `lab doctor` tells of all that this host lacks"
    assert LackError("no such thing").hint == "`lab doctor` tells of all that this host lacks"
