# SPDX-License-Identifier: GPL-2.0-or-later
"""States that a guest cannot tell apart, by what it has read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.crash.epochs import epochs
from lab.crash.logfile import LogWriter, WriteLog
from lab.crash.states import CrashState
from lab.crash.walk import apply, made_durable
from lab.errors import HostError
from lab.suites.crash_states.fs.reads import Looks, StateContents, first_read, read_of
from lab.vm import trace

SECTORS = 12


def told(*lines: str) -> list[trace.TraceLine]:
    """The lines of a trace log."""
    return trace.parse("".join(f"7@1795931401.319738:{line}\n" for line in lines))


def test_what_was_read_before_it_was_written_is_known() -> None:
    lines = told(
        "scsi_disk_dma_command_READ Read (sector 8, count 2)",
        "scsi_disk_dma_command_WRITE Write AND VERIFY (sector 9, count 2)",
        "monitor_qmp_cmd_in_band qom-set",
        "scsi_disk_dma_command_READ Read (sector 9, count 3)",
    )
    assert list(first_read(lines)) == [8, 9, 11]
    assert read_of(lines, 1, 16) == {8, 9, 11}
    # Which disk was read, and which was written to, is not told.
    assert read_of(lines, 2, 16) == {8, 9, 10, 11, 24, 25, 26, 27}
    with pytest.raises(HostError, match="cannot read"):
        list(first_read(told("scsi_disk_dma_command_READ something else")))


@given(
    writes=st.lists(
        st.tuples(st.integers(0, SECTORS - 3), st.integers(1, 3), st.integers(0, 2)), max_size=6
    ),
    first=st.tuples(st.integers(0, 6), st.sets(st.integers(0, 5))),
    second=st.tuples(st.integers(0, 6), st.sets(st.integers(0, 5))),
    read=st.frozensets(st.integers(0, SECTORS - 1)),
)
def test_a_state_is_known_just_if_it_holds_the_same_where_it_was_read(
    tmp_path_factory: pytest.TempPathFactory,
    writes: list[tuple[int, int, int]],
    first: tuple[int, set[int]],
    second: tuple[int, set[int]],
    read: frozenset[int],
) -> None:
    place = tmp_path_factory.mktemp("reads")
    base = place / "base"
    base.write_bytes(bytes(512 * SECTORS))
    with LogWriter(place / "log", 512) as sink:
        for start, count, fill in writes:
            sink.write(512 * start, bytes([fill]) * 512 * count)
    with WriteLog(place / "log") as log:
        (epoch,) = epochs(log)
        contents, held = StateContents(log, base), []
        for wanted, lost in (first, second):
            written = min(wanted, len(epoch))
            gone = tuple(sorted(at for at in lost if at < written))
            state = CrashState(written, epoch.cut(written), gone)
            held.append((contents.of(epoch, state), _built(log, epoch, state, base, place)))
    (content, medium), (other, same) = held
    looks = Looks()
    looks.add(content, read, {"stage": "done"})
    alike = all(medium[512 * at : 512 * at + 512] == same[512 * at : 512 * at + 512] for at in read)
    assert (looks.find(other) is not None) == alike


def _built(log: WriteLog, epoch: object, state: CrashState, base: Path, place: Path) -> bytes:
    """The bytes of a state."""
    medium = place / "medium"
    medium.write_bytes(base.read_bytes())
    with medium.open("r+b", buffering=0) as file:
        apply(log, epoch, state, file.fileno())  # type: ignore[arg-type]
    return medium.read_bytes()


def test_what_was_durable_before_an_epoch_is_there_in_it(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.write_bytes(bytes(2048))
    with LogWriter(tmp_path / "log", 512) as sink:
        sink.write(0, b"a" * 512)
        sink.flush()
        sink.write(512, b"a" * 512)
    with WriteLog(tmp_path / "log") as log:
        one, two = epochs(log)
        contents = StateContents(log, base)
        empty = contents.of(one, CrashState(0, 0))
        assert empty[0] == empty[1]
        contents.end(one)
        found = contents.of(two, made_durable(two))
        assert found[0] == found[1] != empty[0]


def test_what_another_disk_has_not_flushed_is_not_durable(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.write_bytes(bytes(2048))
    with LogWriter(tmp_path / "log", 512) as sink:
        sink.write(0, b"a" * 512)
        sink.write(1024, b"b" * 512)
        sink.flush(1024)
    with WriteLog(tmp_path / "log", region=1024) as log:
        one, two = epochs(log)
        contents = StateContents(log, base)
        empty = contents.of(one, CrashState(0, 0))
        contents.end(one)
        found = contents.of(two, CrashState(len(two), two.first, (0,)))
        assert found[0] == empty[0]
        assert found[2] != empty[2]
