# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever drains while a copy is held would hang QEMU for good: the lab ends it, and says so."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from lab.copy.model import Copy, Extent
from lab.copy.paths import find
from lab.errors import HostError
from lab.faults.model import Point, Stage
from lab.faults.stepper import Stepper
from lab.guest.boot import Platform
from lab.guest.executor import Executor
from lab.guest.guest import Guest
from lab.guest.guests import attach
from tests.boot.conftest import Lab

POINT = Point(Stage.WRITE, 1)
DEADLINE = 3.0


@pytest.fixture(scope="module")
def drained(lab: Lab) -> Iterator[Guest]:
    """A guest whose QEMU each of these tests kills."""
    lab("up", "nvme-copy", "--name", "drained", deadline=900)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(lab.state))
        yield attach("drained")
        lab("down", "drained")


@pytest.fixture
def holding(drained: Guest) -> Iterator[Guest]:
    """That guest, with a copy held before its first write."""
    if not drained.machine.alive():
        profile = drained.record.profile
        drained.reboot(Platform.find(profile, print), print)
    path = find(drained.record.profile, "nvme-copy")
    with drained.connect() as session:
        executor = Executor(session)
        drained.await_ready()
        stepper = Stepper(drained.machine, path.stepped, executor.has_answer)
        stepper.arm(POINT)
        executor.send(**path.request(Copy((Extent(0, 8),), 64)))
        stepper.hold(POINT, 1, 30)
        yield drained


def _exchange(guest: Guest) -> None:
    guest.machine.exchange_fault_layer(find(guest.record.profile).drive)


def _terminate(guest: Guest) -> None:
    os.kill(guest.machine.process.pid, signal.SIGTERM)


DRAINS: dict[str, Callable[[Guest], object]] = {
    "stop": lambda guest: guest.machine.execute("stop", deadline=DEADLINE),
    "system_reset": lambda guest: guest.machine.execute("system_reset", deadline=DEADLINE),
    "quit": lambda guest: guest.machine.execute("quit", deadline=DEADLINE),
    "qom-set drive": _exchange,
    "SIGTERM": _terminate,
}


@pytest.mark.parametrize("drain", DRAINS)
def test_what_drains_while_a_copy_is_held_does_not_hang_the_lab(holding: Guest, drain: str) -> None:
    start = time.monotonic()
    with pytest.raises(HostError, match=r"while a request was held.*killed") as caught:
        DRAINS[drain](holding)
        # Some are answered, and drain afterwards.
        while True:
            holding.machine.execute("query-status", deadline=DEADLINE)
            assert time.monotonic() < start + 30, "QEMU did not hang"
    assert "release a held copy" in caught.value.hint
    assert not holding.machine.alive()
    assert time.monotonic() < start + 30
