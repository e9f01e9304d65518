# SPDX-License-Identifier: GPL-2.0-or-later
"""The executor of copies on a file of this host: what is written and read by memory that is mapped
from it."""

import ctypes
import mmap
import os
import sys
from collections.abc import Iterator
from errno import EFAULT
from pathlib import Path

import pytest

from lab.copy.answers import unpacked
from lab.copy.ground import CachedGround, Guess
from lab.copy.model import SECTOR, Extent
from lab.guest.executor import Executor
from tests.unit.test_executor import DEADLINE, SCRIPTS, executor

WINDOW = Extent(3, 40)
"""It begins and ends within a page, and has whole ones."""
SIZE = WINDOW.sectors * SECTOR
DATA = os.urandom(SIZE)


@pytest.fixture
def copies() -> Iterator[Executor]:
    with executor([sys.executable, "-S", str(SCRIPTS / "copies"), "serve"]) as (found, _):
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(64 * SECTOR))
    return path


def ground(copies: Executor, file: Path) -> CachedGround:
    return CachedGround(lambda **asked: copies.request(DEADLINE, **asked), str(file), 1)


def test_what_is_written_is_read_by_mapped_memory(copies: Executor, file: Path) -> None:
    cache = ground(copies, file)
    for _ in range(2):
        cache.write(WINDOW.start, DATA)
        assert cache.read_mapped(WINDOW) == cache.read(WINDOW) == DATA
    assert file.read_bytes()[WINDOW.start * SECTOR :][:SIZE] == DATA
    cache.write(WINDOW.start, DATA)
    with file.open("r+b") as other:
        other.seek((WINDOW.start + 5) * SECTOR)
        other.write(b"x" * SECTOR)
    read = cache.read_mapped(WINDOW, Guess((), DATA))
    assert read == DATA[: 5 * SECTOR] + b"x" * SECTOR + DATA[6 * SECTOR :]


def test_nothing_of_the_file_stays_in_the_page_cache(copies: Executor, directory: Path) -> None:
    path = directory / "cached"
    path.write_bytes(os.urandom(512 * SECTOR))
    cache = ground(copies, path)
    assert resident(path)
    for at in (0, 3):
        # What lies around is read ahead, in folios that reach beyond what is asked for.
        cache.read(Extent(at, 40))
        assert resident(path) == 0
    cache.write(3, DATA)
    assert resident(path)
    cache.empty()
    assert resident(path) == 0
    assert path.read_bytes()[3 * SECTOR :][:SIZE] == DATA


def resident(path: Path) -> int:
    """Pages of a file in the page cache, as mincore(2) tells."""
    libc, size = ctypes.CDLL(None, use_errno=True), path.stat().st_size
    pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    # A private mapping that nobody has touched has the pages of the file.
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE) as memory:
        start = ctypes.c_char.from_buffer(memory)
        failed = libc.mincore(
            ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), pages
        )
        del start
    assert not failed, os.strerror(ctypes.get_errno())
    return sum(page & 1 for page in pages.raw)


def test_what_cannot_be_had_is_no_signal(copies: Executor, file: Path) -> None:
    cache = ground(copies, file)
    cache.write(WINDOW.start, DATA)
    os.truncate(file, 8 * SECTOR)
    asked = {"offset": WINDOW.start * SECTOR, "bytes": SIZE, "unit": SECTOR}
    answer = copies.request(DEADLINE, op="sectors.read_mapped", node=str(file), **asked)
    # The last page that the file has any of is there, with zeroes behind its end.
    assert answer["unreadable"] == [[at * SECTOR, SECTOR, EFAULT] for at in range(8, WINDOW.end)]
    assert unpacked(answer["data"], SIZE)[: 5 * SECTOR] == DATA[: 5 * SECTOR]
    assert cache.read(WINDOW)[: 5 * SECTOR] == DATA[: 5 * SECTOR]
