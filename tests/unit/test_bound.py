# SPDX-License-Identifier: GPL-2.0-or-later
"""The bound on QEMU's memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.doctor.emulator import memory
from lab.doctor.finding import State
from lab.host.process import Process
from lab.vm import bound
from lab.vm.ending import STDERR
from lab.vm.machine import Machine
from lab.vm.start import SUPERVISOR

pytestmark = pytest.mark.skipif(bool(bound.why_not()), reason=bound.why_not())

NORESERVE = 0x4000
"""MAP_NORESERVE of mmap(2): the host need not have as much; the bound counts it all the same."""
ASKS = (
    "import mmap, sys; "
    f"mmap.mmap(-1, int(sys.argv[1]), mmap.MAP_PRIVATE | {NORESERVE}); print('has it')"
)


def asking(size: int) -> "subprocess.CompletedProcess[str]":
    """What becomes of a program that asks for so many bytes, of a guest with 1 GiB."""
    words = [*bound.bounded(1 << 30), sys.executable, "-c", ASKS, str(size)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_what_asks_for_more_than_its_guest_needs_does_not_get_it() -> None:
    assert asking(4 << 30).stdout == "has it\n"
    refused = asking(5 << 30)
    assert refused.returncode == 1
    assert "Cannot allocate memory" in refused.stderr


def test_what_dies_of_it_is_told(tmp_path: Path) -> None:
    words = [str(SUPERVISOR), *bound.bounded(1 << 30), sys.executable, "-c", ASKS, str(5 << 30)]
    with (tmp_path / STDERR).open("wb") as err:
        subprocess.run(words, cwd=tmp_path, stderr=err, timeout=60, check=True)
    machine = Machine(tmp_path, Process(1, 1))
    assert machine.died().message.endswith("ended with exit status 1")
    assert "Cannot allocate memory" in machine.said()


def test_the_doctor_tells_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory().state is State.OK
    monkeypatch.setattr(bound, "PROGRAM", "no-such-prlimit")
    bound.why_not.cache_clear()
    try:
        assert bound.bounded(1 << 30) == []
        assert memory().state is State.DEGRADED
        assert "may take all memory: no-such-prlimit: not found" in memory().said
    finally:
        monkeypatch.undo()
        bound.why_not.cache_clear()
