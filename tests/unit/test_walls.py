# SPDX-License-Identifier: GPL-2.0-or-later
"""The walls around QEMU: what they let it do, tried with programs that stand in its place.

On a host whose setpriv has no Landlock, LAB_WALLS=SUITE has that of another suite tried.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.host import dirs
from lab.profile.load import load
from lab.vm import walls
from lab.vm.argv import Boot, Memory
from lab.vm.ending import STDERR
from lab.vm.start import SUPERVISOR
from lab.vm.walls import Reach, walled
from tests.setpriv import unpacked
from tests.unit.builders import until

HERE = walls.why_not()
SUITE = os.environ.get("LAB_WALLS", "")


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This host has walls, or gets what puts them up."""
    if HERE and not SUITE:
        pytest.skip(HERE)
    before = os.environ["PATH"]
    if HERE:
        programs = unpacked(SUITE, tmp_path_factory.mktemp("setpriv"))
        os.environ["PATH"] = f"{programs}:{before}"
    walls.why_not.cache_clear()
    assert walls.why_not() == ""
    yield
    os.environ["PATH"] = before
    walls.why_not.cache_clear()


def within(directory: Path, reach: Reach, script: str) -> tuple[int, str]:
    """How a program ended in the place of QEMU, and what it said."""
    with (directory / STDERR).open("w+") as err:
        words = [str(SUPERVISOR), *walled(directory, reach), "sh", "-c", script]
        subprocess.run(words, cwd=directory, stderr=err, timeout=60, check=True)
        err.seek(0)
        return int((directory / "exit-status").read_text()), err.read()


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    place = tmp_path / "guests/one"
    place.mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "artifact").write_text("given\n")
    return place


@pytest.mark.usefixtures("standing")
def test_a_program_works_in_its_directory_and_reads_what_it_was_given(guest: Path) -> None:
    reach = Reach((guest.parent.parent / "artifact",), (), 1 << 30)
    script = (
        "set -e; cat ../../artifact >here; mkdir new; mv here new/there; cat new/there; rm -r new;"
        "date >/dev/null; cat /etc/passwd /proc/self/status >/dev/null"
    )
    assert within(guest, reach, script) == (0, "")


@pytest.mark.usefixtures("standing")
@pytest.mark.parametrize(
    "script",
    [
        "cat ../../secret", "echo >../../secret", "echo >>../../artifact", "echo >../../new",
        "rm ../../secret", "mv ../../secret .", "ls ..", "echo >/tmp/lab-of-a-guest",
        "truncate -s 0 ../../artifact", "cat $HOME/.ssh/id_ed25519 || ls ~", "ls /home /root",
        "echo 1 >/proc/sys/kernel/panic", "ls /dev", "ln -s x ../y",
    ],
)  # fmt: skip
def test_a_program_reaches_nothing_else(guest: Path, script: str) -> None:
    status, said = within(guest, Reach((guest.parent.parent / "artifact",), (), 1 << 30), script)
    assert status != 0
    assert "denied" in said or "Permission" in said, said
    assert sorted(path.name for path in guest.parent.parent.iterdir()) == [
        "artifact", "guests", "secret",
    ]  # fmt: skip
    assert (guest.parent.parent / "artifact").read_text() == "given\n"


@pytest.mark.usefixtures("standing")
def test_walls_stay_when_the_directory_takes_another_place(guest: Path) -> None:
    """As that of a spare does."""
    script = (
        "echo a >before; while [ ! -e go ]; do sleep 0.05; done;"
        "cat before moved >after && cat ../../secret"
    )
    words = [str(SUPERVISOR), *walled(guest, Reach((), (), 1 << 30)), "sh", "-c", script]
    with (guest / STDERR).open("w") as err, subprocess.Popen(words, cwd=guest, stderr=err) as run:
        until((guest / "before").exists)
        place = guest.rename(guest.with_name("two"))
        (guest.parent / "file").write_text("b")
        (guest.parent / "file").rename(place / "moved")
        (place / "go").touch()
        run.wait(60)
    assert (place / "after").read_text() == "a\nb"
    assert (place / "exit-status").read_text() != "0\n"
    assert "ermission denied" in (place / STDERR).read_text()


def boot(qemu: str) -> Boot:
    kernel = dirs.cache("artifacts", "kernel") / "k-1"
    kernel.mkdir(exist_ok=True)
    for name in ("vmlinux", "root", "modules"):
        (kernel / name).touch()
    return Boot("g", qemu, "tcg", kernel / "vmlinux", (), kernel / "root", kernel / "modules")


def test_a_qemu_reads_what_it_is_of_and_what_its_guest_is(tmp_path: Path) -> None:
    own = dirs.cache("artifacts", "qemu") / "q-1/bin/qemu"
    own.parent.mkdir(parents=True)
    own.touch()
    kernel = dirs.cache("artifacts", "kernel") / "k-1"
    files = (kernel / "vmlinux", kernel / "root", kernel / "modules")
    profile = load("nvme-copy")
    assert Reach.of(profile, boot("/usr/bin/env")) == Reach(files, (), 1 << 30)
    assert Reach.of(profile, boot(str(own))) == Reach((own.parents[1], *files), (), 1 << 30)
    built = tmp_path / "build/qemu"
    built.parent.mkdir()
    built.touch()
    memory = Memory(tmp_path / "memory", shared=False)
    found = Reach.of(profile, boot(str(built)), memory)
    assert found == Reach((Path("/"), *files), (tmp_path / "memory",), 1 << 30)


def test_a_host_without_walls_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "setpriv"
    program.write_text('#!/bin/sh\necho "setpriv: Landlock is not supported" >&2; exit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    walls.why_not.cache_clear()
    try:
        assert walls.why_not() == "setpriv: Landlock is not supported"
        assert walled(tmp_path, Reach((), (), 1 << 30)) == []
    finally:
        walls.why_not.cache_clear()


def test_whoever_wants_no_walls_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_LANDLOCK", "no")
    walls.why_not.cache_clear()
    try:
        assert walled(tmp_path, Reach((), (), 1 << 30)) == []
    finally:
        walls.why_not.cache_clear()
