# SPDX-License-Identifier: GPL-2.0-or-later
"""Two guests that live and die together: whatever a lab is killed between, none of them stays."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cli.guest import down as lab_down
from lab.cli.guest import up as lab_up
from lab.guest import guests, registry
from lab.guest.guest import Guest
from lab.guest.registry import Record
from lab.host.process import Process, me
from lab.profile.load import load
from lab.vm.link import Link
from lab.vm.machine import Machine
from tests.unit.builders import gone, idle, quiet, record

NAME, PEER = "n", "n-peer"
ENDS = {NAME: Link(PEER, 1), PEER: Link(NAME, 2)}


@pytest.fixture
def qemu() -> Iterator[Process]:
    """A process that stands for a QEMU."""
    with idle() as process:
        yield process


def made(name: str, qemu: Process, owner: Process | None = None) -> Record:
    """One of the two, in its directory."""
    found = record(name, qemu, owner).model_copy(update={"link": ENDS[name]})
    registry.directory(name).mkdir()
    registry.write(registry.directory(name), found)
    return found


def there() -> list[str]:
    return [name for name in ENDS if registry.directory(name).exists()]


@pytest.mark.parametrize("name", ENDS)
def test_one_whose_other_end_is_gone_is_swept(name: str, qemu: Process) -> None:
    made(name, qemu)
    assert registry.sweep() == [name]


def test_both_stay_while_both_are_there(qemu: Process) -> None:
    made(NAME, qemu)
    made(PEER, gone())
    assert registry.sweep() == []


def test_a_peer_that_waits_for_its_guest_stays_with_its_lab(qemu: Process) -> None:
    made(PEER, qemu, me())
    assert registry.sweep() == []


@pytest.mark.parametrize("released", ENDS)
def test_one_whose_other_end_was_not_released_is_swept_with_it(
    released: str, qemu: Process
) -> None:
    for name in ENDS:
        made(name, qemu, None if name == released else gone())
    assert registry.sweep() == [NAME, PEER]


def test_one_whose_other_end_is_a_spare_for_a_moment_stays(qemu: Process) -> None:
    made(PEER, qemu)
    spare = registry.directory(NAME).with_name(f"{NAME}{registry.SPARE}1")
    spare.mkdir()
    with registry.locked(spare):
        assert registry.sweep() == []


class Killed(BaseException):
    """Stands for SIGKILL."""


def killed_at_second(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have the lab end when it calls a function of the registry for the second time."""
    real, calls = getattr(registry, name), []

    def once(path: Path, *more: object) -> None:
        calls.append(path)
        if len(calls) > 1:
            raise Killed
        real(path, *more)

    monkeypatch.setattr(registry, name, once)


@pytest.mark.parametrize("named", ENDS)
def test_the_peer_is_removed_first(
    named: str, qemu: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ENDS:
        made(name, qemu)
    with monkeypatch.context() as patched:
        killed_at_second(patched, "remove")
        with pytest.raises(Killed):
            guests.down(named)
    assert there() == [NAME]
    lab_down(NAME)
    assert there() == []


def test_both_go_down_by_the_name_of_any(qemu: Process) -> None:
    for name in ENDS:
        made(name, qemu)
    guests.down(PEER)
    assert there() == []


def test_what_the_sweep_has_taken_down_is_told_as_down(
    qemu: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    made(NAME, qemu)
    lab_down(NAME)
    assert capsys.readouterr().out == "n is down: a lab that was killed had left it\n"


def test_the_peer_is_released_last(qemu: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    guest, peer = (
        Guest(made(name, qemu, me()), Machine(registry.directory(name), qemu)) for name in ENDS
    )
    guest.peer = peer
    with monkeypatch.context() as patched:
        killed_at_second(patched, "write")
        with pytest.raises(Killed):
            guest.release()
    owners = {name: registry.find(name).owner for name in ENDS}
    assert owners == {NAME: None, PEER: me()}


def test_a_guest_that_is_up_keeps_its_peer_though_that_is_dead(qemu: Process) -> None:
    made(NAME, qemu)
    made(PEER, gone())
    with pytest.raises(guests.AlreadyUp) as caught:
        guests.start(NAME, load("nvmet-tcp"), quiet, owner=me())
    assert caught.value.name == NAME
    assert there() == [NAME, PEER]


def test_a_guest_in_the_place_of_the_peer_is_named(qemu: Process) -> None:
    registry.directory(PEER).mkdir()
    registry.write(registry.directory(PEER), record(PEER, qemu))
    with pytest.raises(guests.AlreadyUp, match="guest n-peer is already up") as caught:
        lab_up("nvmet-tcp", name=NAME)
    assert "lab down n-peer first" in caught.value.hint
