# SPDX-License-Identifier: GPL-2.0-or-later
"""A spare's directory becomes that of the guest whose place it takes.

That the spare's QEMU answers there is tried in tests/boot.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.errors import GuestError
from lab.guest import registry, restore, spare
from lab.guest.port import LOCK
from lab.guest.registry import Record
from lab.guest.spare import Spare
from lab.host.process import Process, me
from lab.vm.argv import CONSOLE_LOG
from lab.vm.machine import ARGV, PLUGGED, Machine
from tests.unit.builders import idle, record

OF_THE_BOOT = (CONSOLE_LOG, ARGV, PLUGGED, LOCK)
OF_THE_GUEST = ("SERIAL-1.raw", "SERIAL-1.log", "identity", "ssh_host_ed25519_key", registry.RECORD)


class Waiting(Spare):
    """One whose QEMU is a process that does nothing."""

    qemu: Process

    def _wait(self) -> None:
        self._owned.enter_context(registry.locked(self.directory))
        for name in OF_THE_BOOT:
            (self.directory / name).write_text("the spare's")
        self._machine = Machine(self.directory, self.qemu, None)


@pytest.fixture
def guest() -> Record:
    """A guest whose QEMU has ended."""
    found = record("mine", me())
    path = registry.directory("mine")
    path.mkdir()
    for name in (*OF_THE_BOOT, *OF_THE_GUEST):
        (path / name).write_text("the guest's")
    registry.write(path, found)
    return found


@pytest.fixture
def waiting(guest: Record, tmp_path: Path) -> Iterator[Spare]:
    """A spare for it."""
    with idle(tmp_path) as process:
        Waiting.qemu = process
        found = Waiting(guest, None, 1)  # type: ignore[arg-type]
        assert found.ready()
        yield found
        found.close()


def arriving(monkeypatch: pytest.MonkeyPatch, problem: GuestError | None = None) -> list[Any]:
    """Stands for what is done in QEMU; what was there then."""
    seen: list[Any] = []

    def arrive(machine: Machine, name: str, *_: object) -> None:
        texts = {path.name: path.read_text() for path in machine.directory.iterdir()}
        seen.append((machine.directory, name, texts))
        if problem:
            raise problem

    monkeypatch.setattr(restore, "arrive", arrive)
    return seen


def test_it_takes_over_what_is_the_guests_and_keeps_what_is_of_its_boot(
    waiting: Spare, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = arriving(monkeypatch)
    own = waiting.directory
    with registry.locked(registry.directory("mine")):
        machine = waiting.take_over(None)
    ((directory, name, texts),) = seen
    assert (directory, name) == (registry.directory("mine"), "mine")
    assert machine.directory == directory
    assert registry.read(directory) == record("mine", me())
    assert {texts[name] for name in OF_THE_BOOT} == {"the spare's"}
    assert {texts[name] for name in OF_THE_GUEST[:-1]} == {"the guest's"}
    assert not own.exists()
    assert [path.name for path in directory.parent.iterdir()] == ["mine"]
    assert machine.alive()
    waiting.close()
    assert machine.alive(), "it is the guest's now"
    with registry.locked(directory):
        pass


def test_when_it_is_of_no_use_the_guests_media_are_where_they_were(
    waiting: Spare, monkeypatch: pytest.MonkeyPatch
) -> None:
    arriving(monkeypatch, GuestError("no answer"))
    with pytest.raises(GuestError, match="no answer"):
        waiting.take_over(None)
    directory = registry.directory("mine")
    assert {(directory / name).read_text() for name in OF_THE_GUEST[:-1]} == {"the guest's"}
    assert not Waiting.qemu.alive()
    assert [path.name for path in directory.parent.iterdir()] == ["mine"]


def test_one_that_is_not_needed_leaves_nothing(waiting: Spare) -> None:
    directory = waiting.directory
    assert directory.exists()
    waiting.close()
    assert not directory.exists()
    assert not Waiting.qemu.alive()
    assert not waiting.ready()


def test_while_it_waits_nobody_sweeps_it(waiting: Spare) -> None:
    assert registry.left_behind() == []
    assert registry.sweep() == []
    assert waiting.directory.exists()


def test_one_of_a_lab_that_was_killed_is_swept(waiting: Spare) -> None:
    # The kernel has let go of what the lab held.
    waiting._owned.close()
    assert registry.left_behind() == [waiting.directory]
    assert registry.sweep() == [waiting.directory.name]


def test_why_there_is_none_is_told(guest: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "available_memory", lambda: 0)
    none = Spare(guest, None, 1)  # type: ignore[arg-type]
    assert not none.ready()
    assert none.problem == "only 0 MiB of memory are free for a spare"
    none.close()
