# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts are put down to the case for which the kernel worked; guest-scripts/suites/counters, run
here on a directory in place of debugfs, tells them."""

import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from lab.coverage.collection import Collection
from lab.guest.session import Session
from lab.results import coverage
from lab.results.coverage import Circumstance
from lab.results.run import Run
from tests import ROOT

OUTSIDE, PLAIN, FAULT = Circumstance
OBJECT = "build/out/block/bio.gcda"
DEADLINE = 20.0


class LocalChannel:
    """As much of a channel as is used, to the program on this host."""

    closed = False
    _dies = False

    def __init__(self, gcov: Path) -> None:
        self._socket, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-S", ROOT / "guest-scripts/suites/counters"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            env={**os.environ, "LAB_GCOV": str(gcov)},
        )
        theirs.close()

    def die_when_asked(self) -> None:
        """Have the program take the next request, and die of it: not before, and not after its
        answer."""
        self.process.send_signal(signal.SIGSTOP)
        self._dies = True

    def sendall(self, data: bytes) -> None:
        self._socket.sendall(data)
        if self._dies:
            self.process.kill()

    def settimeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)

    def recv(self, size: int) -> bytes:
        try:
            return self._socket.recv(size)
        except ConnectionResetError:
            return b""

    def recv_stderr_ready(self) -> bool:
        return False

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._socket.close()


class LocalSession:
    """A session to this host."""

    process = None

    def __init__(self, gcov: Path) -> None:
        self._gcov = gcov
        self.channels: list[LocalChannel] = []

    def channel(self, argv: Sequence[str]) -> LocalChannel:
        self.channels.append(LocalChannel(self._gcov))
        return self.channels[-1]


@pytest.fixture
def gcov(tmp_path: Path) -> Path:
    place = tmp_path / "gcov"
    (place / OBJECT).parent.mkdir(parents=True)
    (place / "reset").touch()
    (place / OBJECT).write_bytes(b"nothing")
    return place


@pytest.fixture
def begin(gcov: Path) -> Iterator[Callable[[], Session]]:
    """Begin a boot; the session to it."""
    made: list[LocalSession] = []

    def session() -> Session:
        made.append(LocalSession(gcov))
        return cast(Session, made[-1])

    yield session
    for each in made:
        for channel in each.channels:
            channel.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Run("nvme-copy", "copy-faults") as made:
        yield made


def put_down(run: Run) -> list[tuple[str, str, str]]:
    """Case, circumstance, and what was counted or why it was lost."""
    found = []
    for one in coverage.records(run.directory):
        said = one.lost
        if one.file:
            with zipfile.ZipFile(run.directory / coverage.DIRECTORY / one.file) as archive:
                assert archive.namelist() == [OBJECT]
                said = archive.read(OBJECT).decode()
        found.append((one.case, str(one.circumstance), said))
    return found


def test_counts_are_of_what_the_kernel_worked_for(
    run: Run, gcov: Path, begin: Callable[[], Session]
) -> None:
    session, collection = begin(), Collection(run, 1)
    collection.work_for("1", FAULT)
    (gcov / OBJECT).write_bytes(b"boot")
    collection.begin(session, DEADLINE)
    (gcov / OBJECT).write_bytes(b"copy")
    collection.take(session, DEADLINE)
    collection.work_for("1", PLAIN)
    (gcov / OBJECT).write_bytes(b"recovery")
    collection.take(session, DEADLINE)
    collection.work_for("", OUTSIDE)
    assert put_down(run) == [
        ("", "outside", "boot"),
        ("1", "fault", "copy"),
        ("1", "plain", "recovery"),
    ]
    assert (gcov / "reset").read_text() == "0"


def test_what_has_counted_nothing_is_left_out(
    run: Run, gcov: Path, begin: Callable[[], Session]
) -> None:
    session, collection = begin(), Collection(run, 1)
    collection.begin(session, DEADLINE)
    collection.work_for("1", FAULT)
    collection.take(session, DEADLINE)
    assert put_down(run)[1:] == [("1", "fault", "")]
    (gcov / OBJECT).write_bytes(b"copy")
    collection.take(session, DEADLINE)
    assert put_down(run)[2:] == [("1", "fault", "copy")]


def test_a_guest_that_is_gone_takes_its_counts_along_and_the_next_begins_anew(
    run: Run, gcov: Path, begin: Callable[[], Session]
) -> None:
    session, collection = begin(), Collection(run, 1)
    collection.begin(session, DEADLINE)
    collection.work_for("1", FAULT)
    cast(LocalSession, session).channels[0].die_when_asked()
    collection.take(session, DEADLINE)
    collection.take(session, DEADLINE)
    collection.lose("its guest was gone")
    collection.forget()
    collection.begin(begin(), DEADLINE)
    found = put_down(run)
    assert [case for case, _, _ in found] == ["", "1", ""]
    assert "the executor in the guest ended" in found[1][2]


def test_a_guest_that_is_ended_on_purpose_has_told_all(
    run: Run, gcov: Path, begin: Callable[[], Session]
) -> None:
    session, collection = begin(), Collection(run, 1)
    collection.begin(session, DEADLINE)
    collection.work_for("1", FAULT)
    (gcov / OBJECT).write_bytes(b"copy")
    collection.end(session, DEADLINE)
    collection.lose("its guest was gone")
    assert put_down(run)[1:] == [("1", "fault", "copy")]


def test_a_kernel_without_gcov_is_told_once(
    run: Run, tmp_path: Path, begin: Callable[[], Session], gcov: Path
) -> None:
    (gcov / "reset").unlink()
    (gcov / "reset").mkdir()
    session, collection = begin(), Collection(run, 1)
    collection.begin(session, DEADLINE)
    collection.take(session, DEADLINE)
    (only,) = put_down(run)
    assert "IsADirectoryError" in only[2]


def test_counts_that_are_too_many_are_not_taken(
    run: Run, gcov: Path, begin: Callable[[], Session]
) -> None:
    (gcov / OBJECT).write_bytes(bytes(5 << 20))
    collection = Collection(run, 1)
    collection.begin(begin(), DEADLINE)
    (only,) = put_down(run)
    assert "beyond" in only[2]
    assert not list((run.directory / coverage.DIRECTORY).glob("*.zip"))


def test_records_are_lines_of_json(run: Run, begin: Callable[[], Session]) -> None:
    collection = Collection(run, 2)
    collection.begin(begin(), DEADLINE)
    (line,) = (run.directory / coverage.DIRECTORY / coverage.COUNTS).read_text().splitlines()
    assert json.loads(line)["file"] == "2-00001.zip"
