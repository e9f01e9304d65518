# SPDX-License-Identifier: GPL-2.0-or-later
"""What a failure during a copy is: one of the guest's kernel, of QEMU, or of the lab."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.errors import GuestError, KernelHang
from lab.faults.actions import REHEARSAL
from lab.faults.model import REHEARSED
from lab.guest.executor import Executor
from lab.suites.copy_faults import run
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import DeviceFailure
from lab.suites.copy_faults.inquest import Inquest
from lab.suites.guest import RunGuest
from tests.unit.builders import nvme_path

OOPS = "[   47.771283] BUG: kernel NULL pointer dereference, address: 0000000000000008\r\n"
STALL = "[   91.603307] watchdog: BUG: soft lockup - CPU#0 stuck for 49s! [worker:124]\r\n"
TRACE = """\
[   91.603400] RIP: 0010:wait_here+0x87/0x290\r
[   91.603410] Call Trace:\r
[   91.603411]  <TASK>\r
[   91.603412]  called_by+0x31/0x40\r
[   91.603413]  </TASK>\r
"""


class Machine:
    """A QEMU that runs until it is killed, and its console."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.killed = False
        self.kept = ""
        self.console = directory / "console.log"
        self.console.write_text("[   41.000000] BUG: unable to handle what was long ago\r\n")

    def alive(self) -> bool:
        return False

    def crash(self) -> str:
        return ""

    def kill(self) -> None:
        self.killed = True

    def dump(self, case: str, why: str) -> None:
        """What the run does before the guest is ended."""
        assert not self.killed
        self.kept = why


def bench(machine: Machine) -> Bench:
    """As much of a bench as notices failures."""
    found = object.__new__(Bench)
    found.run = SimpleNamespace(emit=lambda *_, **__: None)  # type: ignore[assignment]
    guest = SimpleNamespace(machine=machine)
    found._own = cast(RunGuest, SimpleNamespace(guest=guest, dump=machine.dump))
    found.case = "1"
    found.inquest = Inquest(found.run, machine, found.dump)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("said", [OOPS, STALL])
def test_a_kernel_that_fails_during_a_copy_is_a_finding(tmp_path: Path, said: str) -> None:
    machine = Machine(tmp_path)
    with (
        pytest.raises(
            DeviceFailure, match=r"the guest's kernel: .*BUG: .*; in wait_here <- called_by"
        ),
        bench(machine).inquest.device_may_fail(),
    ):
        with machine.console.open("a") as log:
            log.write(said + TRACE)
        raise GuestError("the executor in the guest ended")
    assert machine.killed
    assert machine.kept in said


def test_a_kernel_that_hangs_and_keeps_silent_is_the_cases_and_is_kept(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    hang = KernelHang("the guest's kernel hangs: a task waits in copy_here")
    with pytest.raises(DeviceFailure, match=hang.message), bench(machine).inquest.device_may_fail():
        raise hang
    assert machine.killed
    assert machine.kept == hang.message


def test_a_copy_that_does_not_end_since_its_kernel_failed_is_told_as_that(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    found = bench(machine)
    found._executor = cast(Executor, SimpleNamespace(answer=lambda deadline: None))
    with found.inquest.device_may_fail():
        assert found.completed(0.1) is None
        assert not machine.killed
        with machine.console.open("a") as log:
            log.write(OOPS + TRACE)
        with pytest.raises(DeviceFailure, match="BUG: kernel NULL pointer"):
            found.completed(0.1)
    assert machine.killed


def test_what_the_kernel_said_before_the_copy_is_not_of_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with pytest.raises(GuestError), bench(machine).inquest.device_may_fail():
        raise GuestError("the executor in the guest ended")
    assert not machine.killed


def test_a_kernel_that_fails_where_no_copy_runs_is_a_finding_of_its_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path)

    class Dies:
        def __init__(self, *_: object) -> None: ...

        def run(self) -> None:
            with machine.console.open("a") as log:
                log.write(OOPS + TRACE)
            raise GuestError("the executor in the guest ended")

    monkeypatch.setattr(run, "BenchCase", Dies)
    found, renewed = bench(machine), list[bool]()
    found.overheard = []
    for name in ("works_for", "renew_if_possible"):
        monkeypatch.setattr(found, name, lambda *_: renewed.append(True))
    sweep: Any = SimpleNamespace(plant=None, hang_deadline=10.0)
    setup = Setup(nvme_path(2**22).layout(2, 8), REHEARSED, REHEARSAL)
    result = run._judge(sweep, found, 1, setup)
    assert result.verdict == "violated" and machine.killed and renewed
    assert "NULL pointer dereference" in result.rules["NO-HANG"].evidence


def test_what_the_lab_fails_at_in_a_case_is_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails:
        def __init__(self, *_: object) -> None: ...

        def run(self) -> None:
            raise GuestError("the connection ended")

    monkeypatch.setattr(run, "BenchCase", Fails)
    found = bench(Machine(tmp_path))
    monkeypatch.setattr(found, "works_for", lambda *_: None)
    sweep: Any = SimpleNamespace(plant=None, hang_deadline=10.0)
    setup = Setup(nvme_path(2**22).layout(2, 8), REHEARSED, REHEARSAL)
    with pytest.raises(GuestError, match="the connection ended"):
        run._judge(sweep, found, 1, setup)
