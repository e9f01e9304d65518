# SPDX-License-Identifier: GPL-2.0-or-later
"""What a failure during a copy is: one of the guest's kernel, of QEMU, or of the lab."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lab.errors import GuestError
from lab.guest.oops import Console
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.failures import DeviceFailure
from lab.suites.guest import RunGuest

OOPS = "[   47.771283] BUG: kernel NULL pointer dereference, address: 0000000000000008\r\n"
STALL = "[   91.603307] watchdog: BUG: soft lockup - CPU#0 stuck for 49s! [worker:124]\r\n"


class Machine:
    """A QEMU that runs until it is killed, and its console."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.killed = False
        self.console = directory / "console.log"
        self.console.write_text("[   41.000000] BUG: unable to handle what was long ago\r\n")

    def alive(self) -> bool:
        return False

    def crash(self) -> str:
        return ""

    def kill(self) -> None:
        self.killed = True


def bench(machine: Machine) -> Bench:
    """As much of a bench as notices failures."""
    found = object.__new__(Bench)
    found.run = SimpleNamespace(emit=lambda *_, **__: None)  # type: ignore[assignment]
    found._own = cast(RunGuest, SimpleNamespace(guest=SimpleNamespace(machine=machine)))
    found._console = Console(machine.console)
    return found


@pytest.mark.parametrize("said", [OOPS, STALL])
def test_a_kernel_that_fails_during_a_copy_is_a_finding(tmp_path: Path, said: str) -> None:
    machine = Machine(tmp_path)
    with (
        pytest.raises(DeviceFailure, match=r"the guest's kernel: .*BUG: "),
        bench(machine).device_may_fail(),
    ):
        with machine.console.open("a") as log:
            log.write(said)
        raise GuestError("the executor in the guest ended")
    assert machine.killed


def test_what_the_kernel_said_before_the_copy_is_not_of_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with pytest.raises(GuestError), bench(machine).device_may_fail():
        raise GuestError("the executor in the guest ended")
    assert not machine.killed
