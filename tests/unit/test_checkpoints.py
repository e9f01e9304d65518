# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a checkpoint belong to each other, or are refused."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.guest import checkpoints
from lab.guest.checkpoints import ABOUT, MEMORY, STATE, UnfitCheckpoint, checked, describe

SIZE = 8 << 20
"""Bytes of a memory."""
SAMPLED = SIZE // 64
"""Bytes from one page that is looked at to the next."""


def made(directory: Path, *, mapped: bool = True, state: bytes = b"") -> Path:
    """A checkpoint: a state, and a sparse memory with something at its beginning and further on."""
    directory.mkdir()
    (directory / STATE).write_bytes(state or os.urandom(5000))
    with (directory / MEMORY).open("wb") as file:
        for at in (0, 3 * SAMPLED, 10 * SAMPLED + 12345):
            file.seek(at)
            file.write(os.urandom(5000))
        file.truncate(SIZE)
    describe(directory, SIZE, "fd", mapped=mapped)
    return directory


@pytest.mark.parametrize("mapped", [True, False])
def test_what_was_written_is_taken_also_as_a_copy(tmp_path: Path, mapped: bool) -> None:
    one = made(tmp_path / "one", mapped=mapped)
    about = checked(one)
    assert (about.mapped, about.memory, about.state_size) == (mapped, SIZE, 5000)
    shutil.copytree(one, tmp_path / "copy")
    assert checked(tmp_path / "copy") == about


def test_the_memory_stays_sparse(tmp_path: Path) -> None:
    memory = made(tmp_path / "one") / MEMORY
    assert memory.stat().st_blocks * 512 < SIZE // 16
    assert memory.stat().st_size == SIZE + 4096


def overwrite(name: str, at: int, data: bytes) -> Callable[[Path, Path], None]:
    """Damage: other bytes at a place of a file."""

    def damage(one: Path, _other: Path) -> None:
        with (one / name).open("r+b") as file:
            file.seek(at)
            file.write(data)

    return damage


def truncated(name: str, by: int) -> Callable[[Path, Path], None]:
    """Damage: a file that has so many bytes less."""
    return lambda one, _: os.truncate(one / name, (one / name).stat().st_size - by)


def another(*names: str) -> Callable[[Path, Path], None]:
    """Damage: files of another checkpoint of the same size."""

    def damage(one: Path, other: Path) -> None:
        for name in names:
            shutil.copy(other / name, one / name)

    return damage


def gone(name: str) -> Callable[[Path, Path], None]:
    """Damage: a file that is not there."""
    return lambda one, _: (one / name).unlink()


WRONG_MEMORY = "the memory is not the one that was written"
WRONG_STATE = "the state is not the one that was written"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (another(MEMORY), "the memory belongs to another state"),
        (another(STATE), WRONG_STATE),
        (another(STATE, ABOUT), "the memory belongs to another state"),
        (another(MEMORY, ABOUT), WRONG_STATE),
        (another(ABOUT), WRONG_STATE),
        (truncated(MEMORY, 1), f"the memory has {SIZE + 4095} bytes, not {SIZE + 4096}"),
        (truncated(MEMORY, 4096 + 64), "the memory has "),
        (truncated(MEMORY, -1), "the memory has "),
        (truncated(STATE, 1), WRONG_STATE),
        (truncated(STATE, -1), WRONG_STATE),
        (overwrite(STATE, 2500, b"other"), WRONG_STATE),
        (overwrite(MEMORY, 17, b"other"), WRONG_MEMORY),
        (overwrite(MEMORY, 3 * SAMPLED + 17, b"other"), WRONG_MEMORY),
        (overwrite(MEMORY, SIZE, bytes(4096)), "the memory belongs to another state"),
        (overwrite(ABOUT, 0, b"?"), "Expecting value"),
        (gone(ABOUT), "No such file"),
        (gone(STATE), "No such file"),
        (gone(MEMORY), "No such file"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    tmp_path: Path, damage: Callable[[Path, Path], None], said: str
) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    damage(one, other)
    with pytest.raises(UnfitCheckpoint, match=re.escape(said)) as caught:
        checked(one)
    assert caught.value.hint.startswith("lab checkpoint rm ")
    assert checked(other)


def test_what_another_version_of_the_lab_wrote_down_is_refused(tmp_path: Path) -> None:
    one = made(tmp_path / "one")
    about = json.loads((one / ABOUT).read_text())
    (one / ABOUT).write_text(json.dumps({**about, "later": 1}))
    with pytest.raises(UnfitCheckpoint, match="later"):
        checked(one)


@pytest.mark.parametrize("place", ["beginning", "end"])
def test_of_a_state_with_the_memory_in_it_both_ends_are_looked_at(
    tmp_path: Path, place: str
) -> None:
    state = os.urandom(2 * checkpoints._WHOLE + 5000)
    one = made(tmp_path / "one", mapped=False, state=state)
    assert checked(one).state_size == len(state)
    overwrite(STATE, 7 if place == "beginning" else len(state) - 7, b"other")(one, one)
    with pytest.raises(UnfitCheckpoint, match=WRONG_STATE):
        checked(one)
