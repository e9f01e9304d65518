# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the kernel of a guest that tells nothing any more is to blame, and for what."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from lab.errors import GuestError, GuestSilence, KernelHang
from lab.guest import blocked
from lab.guest.session import Result

WAITS = """\
task:layers pid:150
Call Trace:
 copy_here+0xf8/0x5b0
 vfs_copy_file_range+0x187/0x630
"""
BUSY = """\
task:kworker/0:1 pid:9
Call Trace:
 write_back+0x8/0x50
"""
CONSOLE = """\
[   93.105311] sysrq: Show Blocked State\r
[   93.105412] task:layers          state:D stack:0     pid:150   tgid:150   ppid:149\r
[   93.105502] Call Trace:\r
[   93.105511]  <TASK>\r
[   93.105520]  __schedule+0x3f1/0xa60\r
[   93.105530]  schedule+0x25/0xd0\r
[   93.105540]  wait_for_completion_io+0x22/0x30\r
[   93.105550]  copy_here+0xf8/0x5b0\r
[   93.105560]  vfs_copy_file_range+0x187/0x630\r
[   93.105570]  </TASK>\r
"""
SILENCE = GuestSilence("layers up in the guest: nothing within 180 s", detail="lab: ready")


class Guest:
    """A guest whose blocked tasks are these at each look; None where no agent answers."""

    machine = SimpleNamespace()

    def __init__(self, *looks: str | None) -> None:
        self._looks = list(looks)

    def connect(self) -> Any:
        """A session of as much as is asked for."""
        if None in self._looks:
            raise GuestError("nobody answers")
        return SimpleNamespace(run=self._run, close=lambda: None)

    def _run(self, argv: Sequence[str], deadline: float) -> Result:
        return Result(tuple(argv), 0, str(self._looks.pop(0)), "")


def explained(guest: Guest, monkeypatch: pytest.MonkeyPatch, *console: str) -> GuestError:
    monkeypatch.setattr(blocked, "_BETWEEN", 0.01)
    consoles = iter(console)
    monkeypatch.setattr("lab.guest.sysrq.blocked", lambda *_: next(consoles))
    return blocked.explained(SILENCE, guest)  # type: ignore[arg-type]


def test_a_task_that_stays_where_it_waits_is_a_hang_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = explained(Guest(WAITS, BUSY + WAITS), monkeypatch)
    assert isinstance(told, KernelHang)
    assert told.message.endswith("a task waits in copy_here <- vfs_copy_file_range")
    assert str(told.detail).splitlines() == (BUSY + WAITS).splitlines()


@pytest.mark.parametrize("looks", [("", ""), (BUSY, WAITS), (BUSY, "")])
def test_nobody_is_blamed_for_what_goes_on(
    looks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever answers is believed, and so is the console of one that does not.
    assert explained(Guest(*looks), monkeypatch, CONSOLE, CONSOLE) is SILENCE
    assert explained(Guest(None), monkeypatch, *looks) is SILENCE


def test_a_guest_in_which_nothing_answers_is_asked_over_its_console(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = explained(Guest(None), monkeypatch, CONSOLE, CONSOLE)
    assert isinstance(told, KernelHang)
    assert told.message.endswith("a task waits in copy_here <- vfs_copy_file_range")
