# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines on a host that is busy: what waits for a processor has longer."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import HostError
from lab.guest import making, shelf
from lab.guest.boot import LISTENS, NotReady, await_line
from lab.guest.checkpoints import Recipe
from lab.host.patience import Patience
from lab.host.process import Process
from lab.vm.argv import CONSOLE_LOG
from lab.vm.machine import Machine
from lab.vm.qmp import QmpTimeout
from tests.unit.builders import idle
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
