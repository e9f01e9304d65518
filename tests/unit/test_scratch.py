# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories that last as long as something is put together, or until the next command."""

import pytest

from lab.host import dirs, scratch
from lab.host.process import me


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
