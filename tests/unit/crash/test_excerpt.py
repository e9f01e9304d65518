# SPDX-License-Identifier: GPL-2.0-or-later
"""The log around a power cut, and its picture."""

from pathlib import Path

from lab.crash.excerpt import AFTER, BEFORE, LogExcerpt
from lab.crash.logfile import LogWriter, WriteLog
from lab.crash.marks import STARTED, LogMark
from lab.crash.writelog import Flag
from lab.results.site.draw import writes


def log_of(place: Path, count: int) -> Path:
    """A log of so many writes, with a flush behind each fifth."""
    with LogWriter(place / "log", 512) as sink:
        for number in range(count):
            sink.write(512 * (number % 7) + (40 << 20) * (number % 2), b"x" * 1024)
            if number % 5 == 4:
                sink.flush()
        sink.write(0, b"y" * 512, Flag.FUA)
    return place / "log"


def test_the_log_around_a_cut_is_read_back_as_it_was(tmp_path: Path) -> None:
    with WriteLog(log_of(tmp_path, 2000)) as log:
        near = LogExcerpt.of(log, 1500, [(LogMark(STARTED, 1, 1490, 0.0), "rename")])
        far = LogExcerpt.of(log, 1500, [(LogMark(STARTED, 1, 3, 0.0), "rename")])
    assert len(near.entries) == BEFORE + AFTER
    assert near.entries[-1][0] == 1500 + AFTER - 1
    assert (near.marks, far.marks) == ([(1490, "rename")], [])
    assert near.left_out == near.entries[0][0] == 1500 - BEFORE
    assert LogExcerpt.read(near.document()) == near


def drawn(place: Path, **loss: object) -> str:
    """The picture of a loss."""
    with WriteLog(log_of(place, 20)) as log:
        found = LogExcerpt.of(log, 12, [(LogMark(STARTED, 1, 2, 0.0), "rename")])
    given = {"cut": 12, "lost": [], "torn": [], "ahead": 0, **loss}
    return str(writes.picture({"loss": given, "log": found.document()}))


def test_a_picture_has_the_cut_the_marks_and_what_was_lost(tmp_path: Path) -> None:
    plain = drawn(tmp_path)
    assert "power lost after 12 entries" in plain
    assert "rename" in plain
    assert "40.00 MiB" in plain
    assert "5 epochs, 0 writes lost, 0 torn" in plain
    assert "var(--foreign)" not in plain
    assert "var(--foreign)" in drawn(tmp_path, lost=[7])
    assert "var(--torn)" in drawn(tmp_path, torn=[[7, 512]])


def test_a_failure_without_its_log_has_no_picture() -> None:
    assert str(writes.picture({"loss": {}, "log": None})) == ""
