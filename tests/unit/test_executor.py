# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of the guest, run on this host: whoever breaks off a request, at whatever moment, gets
the right answer to the next."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from lab.errors import GuestError
from lab.guest import executor as executor_module
from lab.guest.executor import Executor
from lab.guest.session import Session
from lab.host import patience
from tests import ROOT
from tests.unit.builders import until

SCRIPTS = ROOT / "guest-scripts"
DEADLINE = 20.0
INTERRUPTIONS = ("before", "half", "after")
"""Of a call on the channel: nothing of it is done, half of it, or all and whoever called never
learns of it."""


class Channel:
    """As much of a paramiko.Channel as is used, to a program on this host; one of the calls on it
    can be broken off, as by Ctrl-C."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL,
            env={**os.environ, "LAB_LAYERS": str(SCRIPTS / "layers")},
        )  # fmt: skip
        theirs.close()
        self.calls = 0
        self._how, self._at = "", 0

    def interrupt(self, how: str, at: int) -> None:
        """Break off the call of that number."""
        self._how, self._at = how, at

    def uninterrupted(self) -> bool:
        """Whether it did not come to that; it will not any more."""
        at, self._at = self._at, 0
        return self.calls < at

    def sendall(self, data: bytes) -> None:
        how = self._call()
        if how != "before":
            self._socket.sendall(data[: len(data) // 2] if how == "half" else data)
        if how:
            raise KeyboardInterrupt

    def recv(self, size: int) -> bytes:
        how = self._call()
        if how == "before":
            raise KeyboardInterrupt
        data = self._socket.recv(1 if how == "half" else size)
        if how:
            raise KeyboardInterrupt
        return data

    def _call(self) -> str:
        self.calls += 1
        return self._how if self.calls == self._at else ""

    def settimeout(self, seconds: float) -> None:
        self._socket.settimeout(seconds)

    def recv_ready(self) -> bool:
        return bool(select.select([self._socket], [], [], 0)[0])

    @property
    def closed(self) -> bool:
        return self._process.poll() is not None

    def recv_stderr_ready(self) -> bool:
        return False

    def close(self) -> None:
        self._socket.close()
        self._process.wait(DEADLINE)


@contextmanager
def executor(argv: Sequence[str]) -> Iterator[tuple[Executor, Channel]]:
    """An executor whose program runs here, and its channel."""
    channel = Channel(argv)

    class Local:
        process = None

        def channel(self, _: Sequence[str]) -> Channel:
            return channel

    try:
        yield Executor(cast(Session, Local()), argv), channel
    finally:
        channel.close()


def copies(tmp_path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """The executor of copies, on a file."""
    file = tmp_path / "file"
    file.write_bytes(b"1" * 4096 + b"2" * 4096)
    requests = [
        {"op": "sectors.read_cached", "node": str(file), "offset": at, "bytes": 4096, "unit": 4096}
        for at in (0, 4096)
    ]
    return [sys.executable, "-S", str(SCRIPTS / "copies"), "serve"], requests


def script(tmp_path: Path, name: str) -> str:
    """A guest's script that finds its modules where they are here."""
    text = (SCRIPTS / "suites" / name).read_text()
    assert "/run/lab/layers" in text
    made = tmp_path / name
    made.write_text(text.replace("/run/lab/layers", str(SCRIPTS / "layers")))
    return str(made)


def exerciser(tmp_path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """The exerciser on a file."""
    requests: list[dict[str, Any]] = [{"op": "open", "fresh": True}]
    requests += [{"op": "write", "at": 4096 * k, "length": k + 1, "fill": "x"} for k in range(3)]
    requests += [{"op": "sums", "drop": False}, {"op": "read", "at": 4096, "length": 2}]
    return [sys.executable, "-S", script(tmp_path, "exerciser"), str(tmp_path / "file")], requests


def checker(tmp_path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """The checker of the suite verity."""
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        pytest.skip("/dev/kmsg cannot be read here")
    requests = [
        {"op": "run", "argv": ["echo", str(number)], "deadline": 10, "text": None}
        for number in range(3)
    ]
    return [sys.executable, "-S", script(tmp_path, "checker")], requests


PROGRAMS = {"copies": copies, "exerciser": exerciser, "checker": checker}


class Stopped:
    """A channel on which an answer came while this process was stopped, for 100 seconds; it is read
    a moment after that goes on."""

    def __init__(self, answer: bytes) -> None:
        self.now = 0.0
        self._answer = answer

    def monotonic(self) -> float:
        return self.now

    def settimeout(self, seconds: float) -> None:
        self._seconds = seconds

    def sendall(self, data: bytes) -> None: ...

    def recv(self, _size: int) -> bytes:
        if self.now < 100:
            self.now += 100
        elif self._answer:
            return self._answer
        else:
            self.now += self._seconds
        raise TimeoutError


@pytest.mark.parametrize(("said", "found"), [(b'{"number": 1, "a": 2}\n', {"a": 2}), (b"", None)])
def test_an_answer_that_came_while_the_lab_was_stopped_is_heard(
    monkeypatch: pytest.MonkeyPatch, said: bytes, found: object
) -> None:
    channel = Stopped(said)

    class Local:
        process = None

        def channel(self, _: Sequence[str]) -> Stopped:
            return channel

    monkeypatch.setattr(executor_module, "time", channel)
    monkeypatch.setattr(patience, "time", channel)
    stopped = Executor(cast(Session, Local()), ("x",))
    stopped.send(op="x")
    assert stopped.answer(30.0) == found
    assert channel.now < 200


@pytest.mark.parametrize("how", INTERRUPTIONS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_after_an_interruption_at_any_await_each_answer_is_that_of_its_request(
    tmp_path: Path, program: str, how: str
) -> None:
    argv, requests = PROGRAMS[program](tmp_path)
    *before, first, second = requests
    with executor(argv) as (undisturbed, _):
        answers = [ask(undisturbed, request) for request in requests]
    assert shape(answers[-2]) != shape(answers[-1])
    interruptions = 0
    while True:
        with executor(argv) as (one, channel):
            for request in before:
                ask(one, request)
            channel.interrupt(how, channel.calls + 1 + interruptions)
            with suppress(KeyboardInterrupt):
                ask(one, first)
            done = channel.uninterrupted()
            assert shape(ask(one, second)) == shape(answers[-1])
        if done:
            break
        interruptions += 1
    # At least while it was sent, and while its answer was awaited.
    assert interruptions >= 2


def ask(one: Executor, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request."""
    one.send(**request)
    answer = one.answer(DEADLINE)
    assert answer is not None
    return answer


def shape(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what this host's kernel said meanwhile."""
    return {key: value for key, value in answer.items() if key != "kernel"}


def test_an_answer_that_was_given_up_is_not_that_of_the_next_request(tmp_path: Path) -> None:
    argv, (first, second) = copies(tmp_path)
    with executor(argv) as (one, _):
        wanted = one.request(DEADLINE, **second)
        one.send(**first)
        one.answer(0.0)
        one.send(**second)
        assert one.answer(DEADLINE) == wanted


def test_there_is_no_answer_yet_where_only_an_earlier_one_came(tmp_path: Path) -> None:
    argv, (first, second) = copies(tmp_path)
    with executor(argv) as (one, channel):
        one.send(**first)
        until(channel.recv_ready)
        # Another request, which nobody answers: its line has no end.
        one._number += 1
        assert not one.has_answer()
        one.send(**second)
        until(one.has_answer)
        assert one.answer(DEADLINE) is not None


def test_what_cannot_be_carried_out_is_an_error_of_its_own_request(tmp_path: Path) -> None:
    argv, (first, _) = copies(tmp_path)
    with executor(argv) as (one, _channel):
        with pytest.raises(GuestError, match="Empty module name"):
            one.request(DEADLINE, op="explode")
        assert one.request(DEADLINE, **first)["unreadable"] == []
