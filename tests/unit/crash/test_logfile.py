# SPDX-License-Identifier: GPL-2.0-or-later
"""The log as a stream: writer and readers against each other, and a log of dm-log-writes."""

import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.crash.epochs import epochs
from lab.crash.logfile import LogWriter, WriteLog
from lab.crash.writelog import Flag, read
from lab.errors import HostError
from tests.unit.test_writelog import REAL

SIZES = st.sampled_from([512, 4096])
PLAIN = Flag(0)
WRITE, FLUSH, DISCARD, MARK = "write", "flush", "discard", "mark"


@st.composite
def records(draw: st.DrawFn) -> tuple[int, list[tuple[str, int, int, Flag]]]:
    """The sector size, and entries: what, first sector, sectors, flags."""
    found = []
    for _ in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from([WRITE, WRITE, FLUSH, DISCARD, MARK]))
        first, count = draw(st.integers(0, 2**40)), draw(st.integers(1, 5))
        flags = draw(st.sampled_from([PLAIN, Flag.FUA, Flag.FLUSH, Flag.FLUSH | Flag.FUA]))
        found.append((kind, first, count, flags))
    return draw(SIZES), found


def made(path: Path, sector: int, asked: list[tuple[str, int, int, Flag]]) -> None:
    """The log of these."""
    with LogWriter(path, sector) as log:
        for number, (kind, first, count, flags) in enumerate(asked):
            if kind == WRITE:
                # Every third is of zeroes, which are not stored.
                log.write(first * sector, bytes([number % 3]) * (count * sector), flags)
            elif kind == DISCARD:
                log.discard(first * sector, count * sector)
            elif kind == FLUSH:
                log.flush()
            else:
                log.mark(f"mark {number}")


@given(records())
def test_what_is_written_is_read_both_ways(
    log: tuple[int, list[tuple[str, int, int, Flag]]],
) -> None:
    sector, asked = log
    with TemporaryDirectory() as name:
        path = Path(name, "log")
        made(path, sector, asked)
        with WriteLog(path) as found:
            streamed = list(found)
            assert streamed == read(path)
            assert found.position == len(asked)
            for number, (entry, (kind, first, count, flags)) in enumerate(
                zip(streamed, asked, strict=True)
            ):
                assert found.entry(entry.index, entry.data_at - sector) == entry
                if kind == MARK:
                    assert found.text(entry) == f"mark {number}"
                    continue
                assert found.text(entry) == ""
                if kind == FLUSH:
                    assert (entry.length, entry.flags) == (0, Flag.FLUSH)
                    continue
                assert (entry.offset, entry.length) == (first * sector, count * sector)
                assert entry.flags == (flags if kind == WRITE else Flag.DISCARD)
                fill = number % 3 if kind == WRITE else 0
                assert found.data(entry) == bytes([fill]) * entry.length
                assert found.data(entry, sector, 0) == b""
                assert found.data(entry, entry.length - 7, 7) == bytes([fill]) * 7


@given(records())
def test_each_write_is_in_the_epoch_behind_the_flush_before_it(
    log: tuple[int, list[tuple[str, int, int, Flag]]],
) -> None:
    sector, asked = log
    with TemporaryDirectory() as name:
        path = Path(name, "log")
        made(path, sector, asked)
        with WriteLog(path) as found:
            cut_up = list(epochs(found))
            told = {entry.index: epoch.number for epoch in cut_up for entry in epoch.writes()}
            for epoch in cut_up:
                for cut in range(epoch.first, epoch.last + 1):
                    assert epoch.written(cut) == sum(e.index < cut for e in epoch.writes())
                for written in range(epoch.written(epoch.first), len(epoch) + 1):
                    assert epoch.written(epoch.cut(written)) == written
    number = 1
    for index, (kind, _, _, flags) in enumerate(asked):
        number += kind == FLUSH or (kind == WRITE and bool(flags & Flag.FLUSH))
        if kind in (WRITE, DISCARD):
            assert told.pop(index) == number
    assert told == {}
    # No cut is in two epochs, and none in none.
    cuts = [cut for epoch in cut_up for cut in range(epoch.first, epoch.last + 1)]
    assert cuts == list(range(len(asked) + 1))


def test_a_log_of_dm_log_writes_is_understood() -> None:
    with WriteLog(REAL) as log:
        marks = [log.text(entry) for entry in log if entry.flags & Flag.MARK]
        seen = [
            [(log.data(entry, 0, 1), entry.offset // 512) for entry in epoch.writes()]
            for epoch in epochs(log)
        ]
        assert list(log) == read(REAL)
    assert marks == ["marked"]
    # C had O_DSYNC, and was logged before B, which was written before and not flushed yet.
    assert seen == [[(b"A", 0)], [(b"C", 2), (b"B", 1)], []]


def test_what_is_no_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file"):
        WriteLog(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(HostError, match="it is empty"):
        WriteLog(tmp_path / "empty")
    (tmp_path / "text").write_text("no log" * 20)
    with pytest.raises(HostError, match="not a write log"):
        WriteLog(tmp_path / "text")
    (tmp_path / "half").write_bytes(b"x" * 8)
    with pytest.raises(HostError, match="only 8 bytes"):
        WriteLog(tmp_path / "half")


def test_only_whole_sectors_are_written(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log", 512) as log:
        with pytest.raises(ValueError, match="no whole sectors"):
            log.write(0, b"x")
        with pytest.raises(ValueError, match="no whole sectors"):
            log.discard(17, 512)
        with pytest.raises(ValueError, match="480 fit"):
            log.mark("x" * 481)
    with pytest.raises(ValueError, match="no sector"):
        LogWriter(tmp_path / "other", 100)


def test_a_log_that_was_not_finished_counts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with pytest.raises(KeyError), LogWriter(path, 512) as log:
        log.write(0, b"x" * 512)
        raise KeyError
    with pytest.raises(HostError):
        WriteLog(path)


HUGE = """
import sys
from pathlib import Path
from lab.crash.epochs import epochs
from lab.crash.logfile import LogWriter, WriteLog
from lab.crash.marks import DURABLE, Levels
path, total, piece = Path(sys.argv[1]), int(sys.argv[2]), 1 << 20
data = bytes(piece)
with LogWriter(path, 512) as log:
    for number in range(total // piece):
        log.write(number * piece % (1 << 34), data)
        if number % 4096 == 4095:
            log.flush()
with WriteLog(path) as log:
    print(sum(entry.length for epoch in epochs(log) for entry in epoch.writes()))
"""


def test_a_log_of_ten_gigabytes_is_streamed_in_little_memory(tmp_path: Path) -> None:
    total, limit = 10 << 30, 512 << 20

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", HUGE, str(tmp_path / "log"), str(total)],
        preexec_fn=bounded, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert int(done.stdout) == total
    # Zeroes are holes.
    assert (tmp_path / "log").stat().st_blocks * 512 < 100 << 20
