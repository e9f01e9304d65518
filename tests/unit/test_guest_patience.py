# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines in a guest: they are longer where that is slower than it might be."""

import fcntl
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.guest_module import LAYERS, load

SCRIPTS = Path(LAYERS)
SLOW, FAST = 1e-9, 1e9
"""What loops take on a host that has nothing else to do, as a slow or a fast guest has it."""


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, as those that are loaded after it find it."""
    module: ModuleType = load(SCRIPTS / "patience.py")
    monkeypatch.setitem(sys.modules, "patience", module)
    monkeypatch.setattr(module, "AT_MOST", 5.0)
    return module


def until_over(deadline: Any) -> float:
    began = time.monotonic()
    while not deadline.over():
        assert time.monotonic() - began < 30
        time.sleep(0.01)
    return time.monotonic() - began


def test_a_deadline_is_longer_in_a_slow_guest(
    patience: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SECONDS", FAST)
    assert until_over(patience.Patience(0.2)) >= 0.2
    monkeypatch.setattr(patience, "SECONDS", SLOW)
    assert until_over(patience.Patience(0.2)) >= 1.0


def test_a_guest_that_is_not_slow_is_measured_as_such(patience: ModuleType) -> None:
    """On hardware the loops take a twentieth of what they may take."""
    assert min(patience.slower() for _ in range(20)) == 1.0


@pytest.mark.parametrize(("takes", "least"), [(SLOW, 1.0), (FAST, 0.2)])
def test_a_disk_that_somebody_has_locked_is_waited_for_by_the_guests_speed(
    patience: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    takes: float,
    least: float,
) -> None:
    quiet = load(SCRIPTS.parent / "copies/quiet.py")
    monkeypatch.setattr(patience, "SECONDS", takes)
    disk = tmp_path / "disk"
    disk.touch()
    held = os.open(disk, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        with quiet.ExitStack() as stack, pytest.raises(quiet.system.Failure, match="has had it"):
            quiet._lock(stack, str(disk), patience.Patience(0.2))
        assert time.monotonic() - began >= least
    finally:
        os.close(held)


@pytest.mark.parametrize(("takes", "least"), [(SLOW, 1.0), (FAST, 0.2)])
def test_a_target_that_is_not_there_yet_is_waited_for_by_the_guests_speed(
    patience: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    takes: float,
    least: float,
) -> None:
    target = load(SCRIPTS / "nvme_target.py")
    monkeypatch.setattr(patience, "SECONDS", takes)
    monkeypatch.setattr(target, "PATIENCE", 0.2)
    # Nobody listens there: the kernel's answer, of whichever step comes first.
    monkeypatch.setattr(target, "FABRICS", "/proc/self/mem")
    began = time.monotonic()
    with pytest.raises(target.system.Failure):
        target.connect_to("nobody", "transport=tcp,traddr=127.0.0.1,trsvcid=1")
    assert time.monotonic() - began >= least


@pytest.mark.parametrize("takes", [SLOW, FAST])
def test_a_program_that_is_late_is_given_time_by_the_guests_speed(
    patience: ModuleType, monkeypatch: pytest.MonkeyPatch, takes: float
) -> None:
    disks = load(SCRIPTS / "statedisks.py")
    monkeypatch.setattr(patience, "SECONDS", takes)
    if takes == SLOW:
        argv = ["sh", "-c", "sleep 2; echo done"]
        assert disks.run(argv, 1) == {"status": 0, "said": "done\n"}
    else:
        with pytest.raises(disks.subprocess.TimeoutExpired):
            disks.run(["sleep", "60"], 0.5)


def test_a_module_that_takes_long_to_load_is_given_time_by_the_guests_speed(
    patience: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As XFS did, on a host on which its guest had a twentieth of a processor: the layer was told
    as not supported."""
    system = load(SCRIPTS / "system.py")
    argv = ["sh", "-c", "sleep 2; cat"]
    monkeypatch.setattr(patience, "SECONDS", SLOW)
    assert system.run(argv, deadline=1, text="what it reads") == "what it reads"
    monkeypatch.setattr(patience, "SECONDS", FAST)
    with pytest.raises(system.Failure, match=r"no end within \d+ s"):
        system.run(["sleep", "60"], deadline=0.5)
