# SPDX-License-Identifier: GPL-2.0-or-later
"""How guests begin: what is asked for, what is told, and that it makes no other guest of one."""

import json
import sys
from collections.abc import Iterator

import pytest

from lab.cli import main
from lab.errors import UsageError
from lab.guest import registry
from lab.guest.begin import cold_because, lasting
from lab.host.process import Process
from lab.profile.change import booting
from lab.profile.load import load
from lab.results.run import Run
from lab.suites.guest import attached
from tests.unit.builders import idle, record


@pytest.fixture
def qemu() -> Iterator[Process]:
    """A process that stands for a QEMU."""
    with idle() as process:
        yield process


def test_what_is_asked_for_stands_in_the_profile() -> None:
    wanted = load("nvme-copy", booting([], "", "", "cold", 0))
    assert (wanted.guest.boot, wanted.guest.spares) == ("cold", 0)
    assert cold_because(wanted) == "asked for"
    as_it_is = load("nvme-copy", booting(["guest.boot=cold"], "", "", "checkpoint"))
    assert (as_it_is.guest.boot, as_it_is.guest.spares) == ("checkpoint", 1)
    assert cold_because(as_it_is) == ""


@pytest.mark.parametrize(
    ("cold", "said"),
    [
        (None, ""),
        ("asked for", ""),
        ("there was no checkpoint yet", ""),
        ("no checkpoint could be made: no room", "no checkpoint could be made: no room"),
    ],
)
def test_only_what_will_be_so_the_next_time_is_told(cold: str | None, said: str) -> None:
    assert lasting(cold) == said


def guest(qemu: Process, cold: str | None) -> None:
    path = registry.directory("nvme-copy")
    path.mkdir(parents=True)
    found = record("nvme-copy", qemu)
    changed = {"profile": load("nvme-copy"), "cold": cold}
    registry.write(path, found.model_copy(update=changed))


@pytest.mark.parametrize("cold", [None, "there was no checkpoint yet"])
def test_the_list_of_guests_tells_how_each_began(
    qemu: Process,
    cold: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guest(qemu, cold)
    monkeypatch.setattr(sys, "argv", ["lab", "ls", "--json"])
    with pytest.raises(SystemExit):
        main()
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["began"], found["cold"]) == ("boot" if cold else "checkpoint", cold)


def test_one_that_began_from_a_checkpoint_is_not_the_booted_one_that_is_asked_for(
    qemu: Process, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guest(qemu, None)
    said = []
    for boot in ("checkpoint", "cold"):
        monkeypatch.setattr(sys, "argv", ["lab", "up", "nvme-copy", "--boot", boot])
        with pytest.raises(SystemExit):
            main()
        said.append(capsys.readouterr())
    assert "already up" in said[0].out
    assert "guest nvme-copy is up, and began from a checkpoint — lab down" in said[1].err


def test_a_run_takes_a_guest_whatever_way_it_began(
    qemu: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest(qemu, "asked for")
    monkeypatch.setattr("lab.suites.guest.require_free", lambda _guest: None)
    monkeypatch.setattr("lab.guest.guests.Machine", lambda *_: None)
    other_way = load("nvme-copy", booting([], "", "", "cold", 3))
    assert attached("nvme-copy", other_way, "fsx", "").record.name == "nvme-copy"
    with pytest.raises(UsageError, match="of another profile"):
        attached("nvme-copy", load("nvme-copy", ["machine.memory=2G"]), "fsx", "")


def test_a_run_counts_how_its_guests_began() -> None:
    with Run("p", "s") as run:
        run.began("run-1", "cold", "there was no checkpoint yet")
        for _ in range(3):
            run.began("run-1", "spare")
    assert run.boots() == [
        {"way": "spare", "why": None, "count": 3},
        {"way": "cold", "why": "there was no checkpoint yet", "count": 1},
    ]
    timeline = (run.directory / "timeline.jsonl").read_text().splitlines()
    assert [json.loads(line)["way"] for line in timeline if '"began"' in line] == [
        "cold", *["spare"] * 3,
    ]  # fmt: skip
