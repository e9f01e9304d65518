# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest of a run: when it is said to hang, to have crashed, or to be the lab's own failure; and
how long it is listened to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from lab.errors import GuestError, HostError
from lab.guest.boot import Platform
from lab.guest.guest import Guest
from lab.guest.lastwords import DEATH, hear_out
from lab.host.process import Process
from lab.results.cases import CaseStatus
from lab.results.run import TIMELINE, Run
from lab.suites import guest as guests_of_runs
from lab.suites.guest import GuestLost, RunGuest
from lab.vm.argv import CONSOLE_LOG
from lab.vm.ending import EXIT_STATUS
from lab.vm.machine import Machine
from tests.unit.builders import gone, idle, profile, record

TRACE = [
    "[   30.1] sysrq: Trigger a crash\r\n",
    "[   30.1] Kernel panic - not syncing: sysrq triggered crash\r\n",
    "[   30.2] Call Trace:\r\n",
    "[   30.3]  sysrq_handle_crash+0x1a/0x20\r\n",
    "[   30.4] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---\r\n",
]


class SlowPort:
    """A clock on which a guest says its lines at their seconds, and then its QEMU ends if it is to;
    whoever sleeps lets that happen."""

    def __init__(self, machine: Machine, lines: dict[float, str], end: float | None) -> None:
        self.time = 0.0
        self._machine = machine
        self._lines = dict(lines)
        self._end = end

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        for at in [at for at in self._lines if at <= self.time]:
            with (self._machine.directory / CONSOLE_LOG).open("a", newline="") as console:
                console.write(self._lines.pop(at))
        if self._end is not None and self.time >= self._end:
            self._machine.process.kill()


@contextmanager
def machine(directory: Path) -> Iterator[Machine]:
    with idle(directory) as process:
        yield Machine(directory, process)


def heard_out(
    directory: Path, lines: dict[float, str], end: float | None = None
) -> tuple[str, float]:
    """What the console has when a guest was heard out that is not given much time, and when that
    was."""
    with machine(directory) as told:
        port = SlowPort(told, lines, end)
        hear_out(told, 2.0, now=port.now, sleep=port.sleep)
        return (directory / CONSOLE_LOG).read_text(), port.time


def test_a_panic_whose_trace_takes_twenty_seconds_is_read_whole(tmp_path: Path) -> None:
    # In pieces, with a long pause between two of them.
    lines = dict(zip((0.5, 1.0, 2.0, 20.0, 21.0), TRACE, strict=True))
    said, at = heard_out(tmp_path, lines, end=22.0)
    assert said == "".join(TRACE).replace("\r\n", "\n")
    assert 22 <= at < 23


def test_a_guest_that_has_reset_itself_has_said_all(tmp_path: Path) -> None:
    with machine(tmp_path) as told:
        # A request is held: QEMU, which waits for it, does not end.
        port = SlowPort(told, {1.0: TRACE[1], 2.0: TRACE[2]}, None)
        hear_out(told, DEATH, lambda: port.time > 3, now=port.now, sleep=port.sleep)
        assert 3 < port.time < 4


def test_a_panic_that_never_comes_to_its_end_is_waited_for_within_limits(tmp_path: Path) -> None:
    assert heard_out(tmp_path, {1.0: TRACE[1]})[1] == pytest.approx(1 + DEATH, abs=1)


def test_a_kernel_that_goes_on_is_heard_out_quickly(tmp_path: Path) -> None:
    assert heard_out(tmp_path, {0.5: "Oops: oh\n", 2.0: "Call Trace:\n"})[1] < 5


def test_who_never_falls_silent_is_left(tmp_path: Path) -> None:
    chatter = {float(second): f"and {second}\n" for second in range(1000)}
    assert heard_out(tmp_path, chatter)[1] < 310


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[[Process, str], RunGuest]]:
    """Makes the guest of a run: its QEMU, and what its console has."""
    with Run("p", "fsx") as run:

        def made(qemu: Process, console: str) -> RunGuest:
            (tmp_path / CONSOLE_LOG).write_text(console)
            (tmp_path / EXIT_STATUS).write_text("137")
            guest = Guest(record("run-x", qemu), Machine(tmp_path, qemu))
            return RunGuest(run, profile(), cast(Platform, None), lambda _: None, on=guest)

        yield made


ERROR = GuestError("the executor in the guest ended")


def test_a_guest_that_is_gone_after_a_panic_was_crashed_by_its_case(own: Any) -> None:
    guest = own(gone(), "".join(TRACE))
    lost = guest.gone(ERROR)
    assert (lost.status, lost.reason) == (
        CaseStatus.CRASHED, "Kernel panic - not syncing: sysrq triggered crash",
    )  # fmt: skip
    assert guest.last_words(lost, "case").endswith("sysrq triggered crash ]---\n")


def test_a_guest_that_is_gone_otherwise_is_the_labs_failure(own: Any) -> None:
    with pytest.raises(HostError, match="was killed by signal 9"):
        own(gone(), "all is well\n").gone(ERROR)


def test_who_does_not_answer_hangs_unless_its_kernel_panicked(own: Any) -> None:
    hung = own(gone(), "all is well\n").overdue("no answer within 5 s")
    assert (hung.status, hung.reason) == (CaseStatus.HUNG, "no answer within 5 s")
    panicked: GuestLost = own(gone(), "".join(TRACE)).overdue("no answer within 5 s")
    assert (panicked.status, panicked.reason[:12]) == (CaseStatus.CRASHED, "Kernel panic")


def test_a_run_that_fails_says_first_that_its_qemu_is_gone(own: Any) -> None:
    with pytest.raises(HostError, match="was killed by signal 9") as caught, own(gone(), "bye\n"):
        raise ERROR
    assert caught.value.__cause__ is ERROR
    # Unless the run itself has ended it, to boot it again.
    lost = own(gone(), "bye\n")
    with pytest.raises(GuestError, match="executor"), lost:
        lost.lose()
        raise ERROR


class Waiting:
    """A spare that is never made."""

    problem = "no memory"

    def __init__(self, _record: object, _platform: object, number: int) -> None:
        self.number = number

    def close(self) -> None:
        """Nothing is there."""


def test_no_spare_has_the_directory_of_another(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests_of_runs, "Spare", Waiting)
    guest: RunGuest = own(gone(), "all is well\n")
    settings = guest.guest.record.profile.guest.model_copy(update={"spares": 2})
    wanted = guest.guest.record.profile.model_copy(update={"guest": settings})
    guest.guest.record = guest.guest.record.model_copy(update={"profile": wanted, "cold": None})
    monkeypatch.setattr(Guest, "reboot", lambda *_: False)
    for _ in range(3):
        guest._boot_again()
        numbers = [cast(Waiting, spare).number for spare in guest._spares]
        assert len(set(numbers)) == len(numbers) == 2
    assert "there was no spare: no memory" in (guest.run.directory / TIMELINE).read_text()
