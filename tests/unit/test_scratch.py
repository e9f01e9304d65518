# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories that last as long as something is put together, or until the next command."""

from pathlib import Path

import pytest

from lab.artifacts import depot
from lab.host import dirs, scratch
from lab.host.process import me
from tests.unit.builders import python, said, until
from tests.unit.test_interrupts import left


def test_it_is_gone_with_the_block_whatever_ends_that() -> None:
    with pytest.raises(ZeroDivisionError), scratch.scratch() as place:
        (place / "directory").mkdir()
        (place / "directory/file").touch()
        scratch.sweep()
        assert (place / "directory/file").exists(), "its owner is here"
        raise ZeroDivisionError
    assert not place.exists()


def test_that_of_a_lab_that_was_killed_is_swept() -> None:
    mine = me()
    left = dirs.state("scratch", f"{mine.pid}-{mine.started + 1}-of-a-former-process")
    (left / "file").touch()
    scratch.sweep()
    assert not left.exists()


def test_there_may_be_none() -> None:
    scratch.sweep()
    assert not (dirs.state() / "scratch").exists()


def test_what_no_lab_has_made_stops_no_command() -> None:
    mine = me()
    left = dirs.state("scratch", f"{mine.pid}-{mine.started + 1}-of-a-former-process")
    strange = ["._notes", "notes", "a-b-c", "1-x-", "9" * 200 + "-1-x"]
    for name in strange:
        (dirs.state("scratch") / name).touch()
    scratch.sweep()
    assert sorted(path.name for path in dirs.state("scratch").iterdir()) == sorted(strange)
    assert not left.exists()


def test_what_no_lab_has_made_stays() -> None:
    strange = dirs.state("scratch", "mine")
    scratch.sweep()
    assert strange.exists()


HANG = """
import os, sys
from pathlib import Path

def hang(*words, **more):
    for word in map(str, words):
        if os.access(word, os.W_OK) and os.path.isdir(word):
            (Path(word) / "file").touch()
    print("there", flush=True)
    sys.stdin.read()

place = Path(sys.argv[1])
"""

ASKED = """
from lab.host import qemu_answers
qemu_answers._await = hang
qemu_answers.mapped(f'{place}/qemu')
"""
DEVICES = """
from lab.doctor import emulator
emulator.qemu.binary = str
emulator.qemu.ask = hang
emulator.faults()
"""
EROFS = """
from lab.doctor import tools
tools._lacking = lambda *_: []
tools.erofs.pack = hang
tools.erofs_tools()
"""
MODULES = """
from lab.doctor import tools
tools._lacking = lambda *_: []
tools.modules.index = hang
tools.depmod()
"""
PACKED = """
from lab.artifacts import depot
depot._sum = hang
depot.opened().put('runs/b', place / 'run', {})
"""
BROUGHT = """
from lab.artifacts import depot
depot.unpack = hang
from lab.farm.hosts import evidence
evidence.bring('a', str)
"""


@pytest.mark.parametrize("code", [ASKED, DEVICES, EROFS, MODULES, PACKED, BROUGHT])
def test_of_what_is_killed_the_next_command_leaves_nothing(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, run, qemu = tmp_path / "tmp", tmp_path / "run", tmp_path / "qemu"
    temporary.mkdir()
    run.mkdir()
    (run / "file").write_text("evidence")
    qemu.write_text("#!/bin/sh\nsleep 50\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("LAB_ARTIFACTS", str(tmp_path / "depot"))
    there = depot.opened()
    assert there
    there.put("runs/a", run, {})
    with python(HANG + code, tmp_path) as lab:
        assert said(lab) == "there"
        lab.kill()
        lab.wait()
    until(lambda: left(qemu) == [])
    scratch.sweep()
    assert list(temporary.iterdir()) == []
    files = [path for root in (dirs.state(), dirs.cache()) for path in root.rglob("*")]
    # What was read of a blob is gone on with; whoever waits for it has a lock.
    blobs = dirs.cache("incoming")
    assert [path for path in files if path.is_file() and path.parent != blobs] == []
    assert [path for path in blobs.iterdir() if path.name.startswith("packed-")] == []
    assert list(dirs.state("runs").glob("*/*")) == list(dirs.state("runs").glob(".*")) == []
