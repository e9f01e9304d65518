# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of media: the same bytes and the same holes, and never the same file."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.host.clone import clone

CHUNK = 65536
"""Bytes; more than any file system's block."""


def regions(path: Path) -> list[tuple[int, int]]:
    """The parts of a file that are not holes."""
    found = []
    with path.open("rb") as file:
        at, size = 0, os.fstat(file.fileno()).st_size
        while at < size:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, at))
    return found


@given(
    chunks=st.lists(st.none() | st.binary(min_size=1, max_size=3), max_size=6),
    tail=st.integers(0, CHUNK),
)
def test_a_sparse_copy_has_the_same_bytes_and_the_same_holes(
    chunks: list[bytes | None], tail: int
) -> None:
    with TemporaryDirectory() as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        target.write_bytes(b"left over from before" * 10000)
        with source.open("wb") as file:
            for number, fill in enumerate(chunks):
                if fill:
                    file.seek(number * CHUNK)
                    file.write((fill * CHUNK)[:CHUNK])
            file.truncate(len(chunks) * CHUNK + tail)
        clone(source, target)
        assert target.read_bytes() == source.read_bytes()
        assert regions(target) == regions(source)


def test_a_clone_can_be_written_without_its_original(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"old" * 5000)
    clone(source, target)
    with target.open("r+b") as file:
        file.write(b"new")
    assert source.read_bytes() == b"old" * 5000
    assert target.read_bytes() == b"new" + b"old" * 4999


def test_what_cannot_be_copied_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        clone(tmp_path / "nothing", tmp_path / "target")
