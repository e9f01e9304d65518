# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines on a host that is busy: what waits for a processor has longer."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lab.copy.contract.rules import no_hang
from lab.copy.contract.verdict import Ruling
from lab.errors import GuestError, HostError
from lab.guest import making, shelf
from lab.guest.boot import LISTENS, NotReady, QemuDefect, await_line
from lab.guest.checkpoints import Recipe
from lab.guest.executor import Executor
from lab.guest.meanwhile import Meanwhile
from lab.guest.port import PortSession
from lab.guest.session import Channel, Session
from lab.host.patience import Patience
from lab.host.process import Brood, Process
from lab.suites.copy_faults.acts.controller import await_unplugged
from lab.suites.copy_faults.acts.scene import Effect
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.failures import DeviceFailure
from lab.suites.copy_faults.interruption import Interruption
from lab.vm import qmp
from lab.vm.argv import CONSOLE_LOG, PORT_SOCKET, QMP_SOCKET
from lab.vm.machine import Machine
from lab.vm.qmp import Qmp, QmpTimeout
from tests.unit.builders import DONE, facts, idle, until
from tests.unit.test_shelf import program, recipe  # noqa: F401  fixtures

HOGS = 4


@pytest.fixture
def crowded() -> Iterator[Process]:
    """A process that always wants to run, and has a processor a quarter of the time at most."""
    first = min(os.sched_getaffinity(0))
    turning = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{first}])\nwhile 1: 0"]
    running = [subprocess.Popen(turning) for _ in range(HOGS)]
    try:
        found = Process.of(running[0].pid)
        assert found
        yield found
    finally:
        for one in running:
            one.kill()
            one.wait()


def until_over(patience: Patience) -> float:
    began = time.monotonic()
    while not patience.over():
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    return time.monotonic() - began


def test_a_deadline_does_not_pass_while_a_process_has_no_processor(crowded: Process) -> None:
    time.sleep(1)
    patience = Patience(crowded, 1.0)
    assert until_over(patience) > 2.0
    assert "s on this busy host" in str(patience)


def test_a_deadline_passes_for_a_process_that_wants_nothing() -> None:
    with idle() as process:
        patience = Patience(process, 0.5)
        assert until_over(patience) < 5
        assert str(patience).startswith("0 s")


def test_a_guest_that_has_no_processor_is_waited_for(crowded: Process, tmp_path: Path) -> None:
    (tmp_path / CONSOLE_LOG).write_text("")
    time.sleep(1)
    began = time.monotonic()
    with pytest.raises(NotReady, match=r"not ready within 1 s, .* on this busy host"):
        await_line(Machine(tmp_path, crowded), LISTENS, 1.0)
    assert time.monotonic() - began > 2.0


class Silent:
    """A session to a guest that says nothing, ever; and the channel of whatever it starts."""

    closed = eof_received = False

    def __init__(self, process: Process) -> None:
        self.process = process
        self._seconds = 0.0

    def channel(self, _argv: Sequence[str]) -> "Silent":
        return self

    def settimeout(self, seconds: float) -> None:
        self._seconds = seconds

    def recv(self, _size: int) -> bytes:
        time.sleep(self._seconds)
        raise TimeoutError

    def no(self) -> bool:
        return False

    exit_status_ready = recv_ready = recv_stderr_ready = no

    def sendall(self, data: bytes) -> None: ...
    def close(self) -> None: ...


def test_what_a_guest_without_a_processor_is_asked_has_longer(crowded: Process) -> None:
    silent = cast(Session, Silent(crowded))
    time.sleep(1)
    began = time.monotonic()
    with pytest.raises(GuestError, match="no end within its deadline"):
        Session.run(silent, ["x"], deadline=1.0)
    assert time.monotonic() - began > 2.0
    executor = Executor(silent, ["x"])
    executor.send(op="x")
    began = time.monotonic()
    assert executor.answer(1.0) is None
    assert time.monotonic() - began > 2.0


class Late(Silent):
    """A channel of a guest that answers after two seconds."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._until = time.monotonic() + 2

    def recv(self, size: int) -> bytes:
        if time.monotonic() > self._until:
            return b'{"number": 1}\n'
        return super().recv(size)


def test_how_long_an_answer_took_is_told_without_what_does_not_count(crowded: Process) -> None:
    time.sleep(1)
    executor = Executor(cast(Session, Late(crowded)), ["x"])
    executor.send(op="x")
    began = time.monotonic()
    assert executor.answer(1.0) == {}
    assert 0.5 < executor.excused < time.monotonic() - began


@pytest.mark.parametrize(("excused", "verdict"), [(8.0, Ruling.HOLDS), (0.0, Ruling.VIOLATED)])
def test_a_copy_whose_qemu_had_no_processor_does_not_hang(excused: float, verdict: Ruling) -> None:
    interruption = object.__new__(Interruption)
    interruption._hang = 10.0
    interruption._bench = cast(Bench, SimpleNamespace(
        completed=lambda _: DONE, answered={}, executor=SimpleNamespace(excused=excused)
    ))  # fmt: skip
    told = interruption._ended(time.monotonic() - 15, Effect())
    assert no_hang(facts(waited=told.waited, deadline=10.0)).verdict == verdict


class Stays:
    """A bench whose controller never goes."""

    def __init__(self, process: Process) -> None:
        self.guest, self.drive = self, SimpleNamespace(id="d0n1")
        self.machine = SimpleNamespace(process=process, execute=lambda *_: [{"name": "d0"}])


def test_what_is_told_of_a_device_is_not_told_of_a_host_that_is_busy(crowded: Process) -> None:
    silent = cast(Channel, Silent(crowded))
    time.sleep(1)
    began = time.monotonic()
    said = Meanwhile(silent, crowded).ended(1.0)
    assert "did not end within 1 s" in said
    assert "on this busy host" in said
    assert time.monotonic() - began > 2.0
    began = time.monotonic()
    with pytest.raises(DeviceFailure, match=r"not gone 1 s, .* on this busy host after"):
        await_unplugged(cast(Bench, Stays(crowded)), 1.0)
    assert time.monotonic() - began > 2.0


def test_a_qemu_without_a_processor_has_longer_to_answer(
    crowded: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / QMP_SOCKET))
        listener.listen()
        time.sleep(1)
        began = time.monotonic()
        monkeypatch.setattr(qmp, "CONNECT_DEADLINE", 1.0)
        with pytest.raises(QmpTimeout, match=r"within 1 s, .* on this busy host"):
            Qmp(tmp_path, process=crowded)
        assert time.monotonic() - began > 2.0


def test_an_agent_without_a_processor_has_longer_to_answer(
    crowded: Process, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / PORT_SOCKET))
        listener.listen()
        time.sleep(1)
        began = time.monotonic()
        with pytest.raises(GuestError, match="does not answer on its port"):
            PortSession(tmp_path, deadline=1.0, process=crowded)
        assert time.monotonic() - began > 2.0


def test_all_processes_of_a_session_are_waited_for() -> None:
    first = min(os.sched_getaffinity(0))
    turning = f"import os; os.sched_setaffinity(0, [{first}])\nwhile 1: 0"
    # The one that leads the session sleeps.
    words = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {turning!r}])"
    running = [
        subprocess.Popen([sys.executable, "-c", words], start_new_session=True) for _ in range(3)
    ]
    try:
        until(lambda: Brood(running[0].pid).kept_waiting() > 1.0)
        leader = Process.of(running[0].pid)
        assert leader
        assert leader.kept_waiting() < 1.0
    finally:
        for one in running:
            os.killpg(one.pid, signal.SIGKILL)
            one.wait()


@pytest.mark.parametrize(
    ("error", "told"),
    [(NotReady("late"), ""), (QmpTimeout("late"), ""), (HostError("QEMU says no"), "QEMU says no")],
)
def test_that_the_host_is_slow_is_no_reason_to_make_no_checkpoint(
    recipe: Recipe,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: str,
) -> None:
    def fail(*_: object) -> dict[str, str]:
        raise error

    monkeypatch.setattr(making, "_build", fail)
    with pytest.raises(type(error)):
        making.ensure(recipe, lambda _: None)
    assert making.failed(recipe) == told
    assert [one.why for one in shelf.failures()] == ([told] if told else [])


def test_a_checkpoint_that_qemu_broke_is_made_from_nothing_once_more(
    recipe: Recipe,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []

    def build(_recipe: Recipe, directory: Path) -> dict[str, str]:
        found.append([file.name for file in directory.iterdir()])
        (directory / "memory").touch()
        if len(found) == 1:
            raise QemuDefect("Kernel panic - not syncing: Fatal exception in interrupt")
        return {}

    monkeypatch.setattr(making, "_build", build)
    monkeypatch.setattr(making, "prune", lambda: None)
    assert making.ensure(recipe, lambda _: None).path.is_dir()
    assert found == [[], []]
    assert making.failed(recipe) == ""
