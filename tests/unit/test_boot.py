# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's console says about its boot."""

from pathlib import Path

import pytest

from lab.errors import GuestError, LabError
from lab.guest.boot import LISTENS, READY, QemuDefect, await_line
from lab.vm.argv import CONSOLE_LOG
from lab.vm.ending import EXIT_STATUS
from lab.vm.machine import Machine
from tests.unit.builders import gone

PANIC = "Kernel panic - not syncing: Fatal exception in interrupt"


def dead(directory: Path, console: str) -> Machine:
    """A machine that has ended, and the console it left."""
    (directory / CONSOLE_LOG).write_text(console)
    return Machine(directory, gone())


def test_a_line_that_was_said_is_enough(tmp_path: Path) -> None:
    await_line(dead(tmp_path, f"{LISTENS}\n{READY}\n"), READY, 1.0)


def test_a_panic_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match=PANIC) as caught:
        await_line(dead(tmp_path, f"{LISTENS}\n{PANIC}\n"), READY, 1.0)
    assert not isinstance(caught.value, QemuDefect)


def test_a_panic_in_half_patched_code_is_a_defect_of_tcg(tmp_path: Path) -> None:
    with pytest.raises(QemuDefect, match=PANIC):
        await_line(dead(tmp_path, f"Oops: int3: 0000 [#1] PREEMPT SMP\n{PANIC}\n"), LISTENS, 1.0)


@pytest.mark.parametrize(("status", "defect"), [(139, True), (137, False), (1, False)])
def test_a_segmentation_fault_of_qemu_is_a_defect_of_it(
    tmp_path: Path, status: int, defect: bool
) -> None:
    machine = dead(tmp_path, "")
    (tmp_path / EXIT_STATUS).write_text(str(status))
    with pytest.raises(LabError, match=r"QEMU .* signal|exit status 1") as caught:
        await_line(machine, LISTENS, 1.0)
    assert isinstance(caught.value, QemuDefect) == defect


def test_what_the_guest_itself_reports_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="lab: error: no virtio disk with serial root"):
        await_line(dead(tmp_path, "lab: error: no virtio disk with serial root\n"), LISTENS, 1.0)
