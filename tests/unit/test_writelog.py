# SPDX-License-Identifier: GPL-2.0-or-later
"""The write log: what another writer of the format logged is read, cut and replayed exactly."""

import struct
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.crash.writelog import Flag, LogEntry, cached, durable, kept_up_to, prefix, read, replay
from lab.errors import HostError
from tests import ROOT

BLOCKS = 8
"""Size of the logged device, in blocks of the log's sector size."""

FLUSH, FUA, DISCARD = 1, 2, 4

REAL = ROOT / "tests/fixtures/writelog/dm-log-writes.log"
"""What Linux 6.12.118 logged of: A written to block 0, a flush, B to block 1, C to block 2 with
O_DSYNC, a discard, the mark `marked`, D to block 3; the data are the letter, 512 times."""


@dataclass(frozen=True)
class Op:
    """What a device was told to do: `data` is empty for flushes and discards."""

    flags: int
    block: int = 0
    blocks: int = 0
    data: bytes = b""


def superblock(count: int, sector: int, magic: int = 0x6A736677736872, version: int = 1) -> bytes:
    """Sector 0 of a log (struct log_write_super of Linux drivers/md/dm-log-writes.c)."""
    return struct.pack("<QQQI", magic, version, count, sector).ljust(sector, b"\0")


def logged(ops: list[Op], sector: int, count: int | None = None) -> bytes:
    """The log of `ops`, as dm-log-writes and blklogwrites write it."""
    log = superblock(len(ops) if count is None else count, sector)
    for op in ops:
        log += struct.pack("<QQQQ", op.block, op.blocks, op.flags, 0).ljust(sector, b"\0") + op.data
    return log


def starts(ops: list[Op], sector: int) -> list[int]:
    """Where each entry's header is in the log, and where the log ends."""
    return [len(logged(ops[:number], sector)) for number in range(len(ops) + 1)]


def result(ops: list[Op], sector: int) -> bytes:
    """The device after `ops`, by a model that knows nothing of logs."""
    device = dict.fromkeys(range(BLOCKS), b"\xee" * sector)
    for op in ops:
        for index in range(op.blocks):
            block = op.data[index * sector : (index + 1) * sector]
            device[op.block + index] = block or bytes(sector)
    return b"".join(device.values())


@st.composite
def operations(draw: st.DrawFn, sector: int) -> list[Op]:
    """Writes, discards, flushes, writes that flush first, and any of these with FUA."""
    ops = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["write", "flush", "discard", "flush and write"]))
        force = draw(st.sampled_from([0, FUA]))
        if kind == "flush":
            ops.append(Op(FLUSH))
            continue
        block = draw(st.integers(0, BLOCKS - 1))
        blocks = draw(st.integers(1, BLOCKS - block))
        if kind == "discard":
            ops.append(Op(DISCARD, block, blocks))
        else:
            fill = draw(st.binary(min_size=1, max_size=5))
            data = (fill * (blocks * sector))[: blocks * sector]
            ops.append(Op(force | (FLUSH if "flush" in kind else 0), block, blocks, data))
    return ops


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[Op], int]:
    """Operations and the log's sector size."""
    sector = draw(st.sampled_from([512, 4096]))
    return draw(operations(sector)), sector


def entries(content: bytes, after: LogEntry | None = None) -> list[LogEntry]:
    """The entries of a log with that content."""
    with TemporaryDirectory() as directory:
        log = Path(directory, "log")
        log.write_bytes(content)
        return read(log, after)


def replayed(ops: list[Op], sector: int, some: slice = slice(None)) -> bytes:
    """A medium after the replay of some of the entries."""
    with TemporaryDirectory() as directory:
        log, medium = Path(directory, "log"), Path(directory, "medium")
        log.write_bytes(logged(ops, sector))
        medium.write_bytes(result([], sector))
        replay(log, read(log)[some], medium)
        return medium.read_bytes()


@given(logs())
def test_every_entry_is_read_with_place_length_and_flags(log: tuple[list[Op], int]) -> None:
    ops, sector = log
    found = entries(logged(ops, sector))
    assert [(entry.index, entry.offset, entry.length, int(entry.flags)) for entry in found] == [
        (index, op.block * sector, op.blocks * sector, op.flags) for index, op in enumerate(ops)
    ]
    assert [entry.next_at for entry in found] == starts(ops, sector)[1:]


@given(logs())
def test_replaying_a_log_gives_the_device_that_was_logged(log: tuple[list[Op], int]) -> None:
    ops, sector = log
    assert replayed(ops, sector) == result(ops, sector)


@given(st.data())
def test_replaying_a_prefix_gives_the_device_of_that_moment(data: st.DataObject) -> None:
    ops, sector = data.draw(logs())
    count = data.draw(st.integers(0, len(ops)))
    assert replayed(ops, sector, slice(count)) == result(ops[:count], sector)


@given(st.data())
def test_an_entry_counts_only_if_the_file_holds_all_of_it(data: st.DataObject) -> None:
    ops, sector = data.draw(logs())
    content = logged(ops, sector)
    edges = [edge + by for edge in starts(ops, sector) for by in (-1, 0, 1, 32)]
    inside = [edge for edge in edges if sector <= edge <= len(content)]
    cut = data.draw(st.sampled_from(inside) | st.integers(sector, len(content)))
    whole = sum(start <= cut for start in starts(ops, sector)[1:])
    assert entries(content[:cut]) == entries(content)[:whole]


@given(st.data())
def test_no_more_entries_are_read_than_the_superblock_counts(data: st.DataObject) -> None:
    ops, sector = data.draw(logs())
    count = data.draw(st.integers(0, len(ops)))
    assert entries(logged(ops, sector, count)) == entries(logged(ops, sector))[:count]


@given(st.data())
def test_reading_on_after_an_entry_gives_just_the_later_ones(data: st.DataObject) -> None:
    ops, sector = data.draw(logs())
    content = logged(ops, sector)
    found = entries(content)
    for number, entry in enumerate(found):
        assert entries(content, entry) == found[number + 1 :]


def survivors(ops: list[Op]) -> list[int]:
    """Which operations outlive their power, by a disk with a cache that knows nothing of logs."""
    cache: list[int] = []
    stored: list[int] = []
    for number, op in enumerate(ops):
        if op.flags & FLUSH:
            stored += cache
            cache = []
        # The data of a flush come after it.
        (stored if op.flags & FUA else cache).append(number)
    return sorted(stored)


@given(logs())
def test_durable_is_what_a_disk_without_its_cache_has(log: tuple[list[Op], int]) -> None:
    ops, sector = log
    found = entries(logged(ops, sector))
    writes = [entry for entry in durable(found) if entry.length]
    assert [entry.index for entry in writes] == [at for at in survivors(ops) if ops[at].blocks]
    assert sorted([*durable(found), *cached(found)], key=lambda entry: entry.index) == found


@given(logs(), st.data())
def test_what_was_durable_outlives_whatever_else_survives(
    log: tuple[list[Op], int], data: st.DataObject
) -> None:
    ops, sector = log
    found = entries(logged(ops, sector))
    total = sum(entry.length for entry in cached(found))
    length = data.draw(st.integers(0, total))
    kept = kept_up_to(found, length)
    assert [entry.index for entry in kept] == sorted(entry.index for entry in kept)
    assert set(durable(found)) <= set(kept)
    assert sum(each.length for each in kept) == length + sum(each.length for each in durable(found))
    assert kept_up_to(found, total) == found or not total


def test_a_write_with_fua_is_durable_and_takes_nothing_with_it() -> None:
    ops = [Op(0, 0, 1, b"a" * 512), Op(FUA, 1, 1, b"b" * 512), Op(0, 2, 1, b"c" * 512)]
    found = entries(logged(ops, 512))
    assert durable(found) == [found[1]]
    assert cached(found) == [found[0], found[2]]
    assert kept_up_to(found, 512) == found[:2]


def test_an_earlier_write_of_the_cache_does_not_undo_one_with_fua() -> None:
    with TemporaryDirectory() as directory:
        log, medium = Path(directory, "log"), Path(directory, "medium")
        log.write_bytes(logged([Op(0, 0, 1, b"a" * 512), Op(FUA, 0, 1, b"b" * 512)], 512))
        medium.write_bytes(bytes(512))
        replay(log, kept_up_to(read(log), 512), medium)
        assert medium.read_bytes() == b"b" * 512


def test_what_a_flush_writes_itself_is_not_durable_by_it() -> None:
    # REQ_PREFLUSH: the cache is flushed first, the data comes after.
    found = entries(logged([Op(0, 0, 1, b"a" * 512), Op(FLUSH, 1, 1, b"b" * 512)], 512))
    assert durable(found) == found[:1]
    both = entries(logged([Op(0, 0, 1, b"a" * 512), Op(FLUSH | FUA, 1, 1, b"b" * 512)], 512))
    assert durable(both) == both


def test_a_log_of_the_kernel_is_read() -> None:
    # C has FUA, and is logged when it is durable: before B, which then waits for its flush.
    assert [(entry.offset // 512, entry.length, entry.flags) for entry in read(REAL)] == [
        (0, 512, Flag(0)), (0, 0, Flag.FLUSH), (2, 512, Flag.FUA), (1, 512, Flag(0)),
        (0, 0, Flag.FLUSH), (0, 0, Flag.MARK),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("length", "letters"), [(0, b""), (1, b""), (2, b"A"), (3, b"AC"), (4, b"AC"), (5, b"ACB")]
)
def test_of_a_log_of_the_kernel_survives_what_it_flushed_or_forced(
    length: int, letters: bytes, tmp_path: Path
) -> None:
    kept = [entry for entry in durable(read(REAL)[:length]) if entry.length]
    content = REAL.read_bytes()
    assert b"".join(content[entry.data_at :][:1] for entry in kept) == letters
    medium = tmp_path / "medium"
    medium.write_bytes(b"-" * 2048)
    replay(REAL, kept, medium)
    disk = b"".join(bytes([at]) if at in letters else b"-" for at in b"ABCD")
    assert medium.read_bytes() == b"".join(bytes([letter]) * 512 for letter in disk)


def test_without_a_flush_nothing_is_durable() -> None:
    assert durable(entries(logged([Op(0, 0, 1, b"a" * 512)], 512))) == []


@given(logs(), st.data())
def test_a_prefix_writes_just_its_bytes_in_their_order(
    log: tuple[list[Op], int], data: st.DataObject
) -> None:
    ops, sector = log
    found = entries(logged(ops, sector))
    total = sum(entry.length for entry in found)
    length = data.draw(st.integers(0, total))
    kept = prefix(found, length)
    assert sum(entry.length for entry in kept) == length
    assert kept[:-1] == found[: len(kept[:-1])]
    if kept:
        last = found[len(kept) - 1]
        assert (kept[-1].index, kept[-1].offset) == (last.index, last.offset)
        assert kept[-1].length <= last.length


@given(logs())
def test_a_prefix_of_everything_leaves_nothing_out(log: tuple[list[Op], int]) -> None:
    found = entries(logged(*log))
    assert prefix(found, sum(entry.length for entry in found)) == found


def test_the_last_write_of_a_prefix_is_cut_on_the_medium() -> None:
    ops = [Op(0, 0, 1, b"a" * 512), Op(0, 1, 2, b"b" * 1024)]
    with TemporaryDirectory() as directory:
        log, medium = Path(directory, "log"), Path(directory, "medium")
        log.write_bytes(logged(ops, 512))
        medium.write_bytes(b"-" * 1536)
        replay(log, prefix(read(log), 1024), medium)
        assert medium.read_bytes() == b"a" * 512 + b"b" * 512 + b"-" * 512


def test_a_log_that_was_never_written_has_no_entries() -> None:
    assert entries(b"") == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0" * 27, "only 27 bytes"),
        (superblock(0, 512, magic=0x1234), "magic 0x1234, version 1"),
        (superblock(0, 512, version=2), "version 2"),
        (b"PK\x03\x04" + b"x" * 600, "magic 0x"),
    ],
)
def test_garbage_is_no_write_log(content: bytes, words: str) -> None:
    with pytest.raises(HostError, match="not a write log") as caught:
        entries(content)
    assert words in caught.value.message


def test_a_mark_carries_its_text_in_its_header_and_writes_nothing() -> None:
    mark = struct.pack("<QQQQ", 0, 0, int(Flag.MARK), 5) + b"after"
    write = logged([Op(0, 1, 1, b"w" * 512)], 512)[512:]
    found = entries(superblock(2, 512) + mark.ljust(512, b"\0") + write)
    assert [(entry.flags, entry.length) for entry in found] == [(Flag.MARK, 0), (Flag(0), 512)]
