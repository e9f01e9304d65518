# SPDX-License-Identifier: GPL-2.0-or-later
"""A power cut takes the cache of every disk that a copy may have written to."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.copy import plant
from lab.copy.model import SECTOR, Completion
from lab.copy.oracle import Tagging
from lab.copy.paths import find
from lab.errors import HostError
from lab.faults.model import Point, Stage
from lab.profile.load import load
from lab.suites.copy_faults.acts.registry import action_called
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.interruption import Interruption
from lab.suites.copy_faults.powercut import PowerCut
from lab.suites.copy_faults.taps import Taps
from tests.unit.test_writelog import FLUSH, Op, logged

PATH = find(load("dm-linear-split", []), "bdev-cfr")
FIRST, SECOND = PATH.stepped
OLD, NEW = b"o" * SECTOR, b"n" * SECTOR
BLOCKS = 4


class Guest:
    """The files of a guest whose disks have four blocks, and a copy that writes to the second."""

    def __init__(self, directory: Path, log: list[Op]) -> None:
        self.directory = directory
        self._log = log
        for drive in PATH.stepped:
            (directory / drive.medium).write_bytes(OLD * BLOCKS)
            (directory / drive.write_log).write_bytes(logged([], SECTOR))
        (directory / "trace").write_bytes(b"")

    def medium(self, drive: Any) -> list[bytes]:
        """The blocks of a disk."""
        data = (self.directory / drive.medium).read_bytes()
        return [data[at : at + SECTOR] for at in range(0, len(data), SECTOR)]

    def copy(self, request: dict[str, object]) -> None:
        """What the executor is asked for."""
        data = bytearray((self.directory / SECOND.medium).read_bytes())
        for op in self._log:
            data[op.block * SECTOR : (op.block + op.blocks) * SECTOR] = op.data
        (self.directory / SECOND.medium).write_bytes(data)
        (self.directory / SECOND.write_log).write_bytes(logged(self._log, SECTOR))

    def cut(self, action: str, planted: str = "") -> Any:
        """Copy, cut the power behind the success, and what that came to."""
        bench = Bench.__new__(Bench)
        bench.path = PATH
        bench.run = run = SimpleNamespace(emit=lambda *_, **__: None)  # type: ignore[assignment]
        own = SimpleNamespace(
            guest=SimpleNamespace(directory=self.directory), end=lambda: None,
            works_for=lambda *_: None,
        )  # fmt: skip
        bench._own = own  # type: ignore[assignment]
        bench.case, bench._blind = "1", ""
        bench.set_fault = lambda fault: None  # type: ignore[method-assign]
        bench.start = self.copy  # type: ignore[method-assign]
        bench.completed = lambda deadline: Completion(0, 2, 0.1)  # type: ignore[method-assign]
        logs = [self.directory / drive.write_log for drive in PATH.stepped]
        bench._taps = Taps(
            run, self.directory / "trace", logs[0], lambda **_: {"records": []}, logs[1:]  # type: ignore[arg-type]
        )  # fmt: skip
        layout = PATH.layout(2, 1)
        setup = Setup(layout, Point(Stage.COMPLETED), action_called(action), PATH.name, PATH.ref)
        tagging = Tagging(layout.window, 1, 7)
        return Interruption(bench, setup, tagging, plant.find(planted), 10.0).carry_out()


def write(block: int) -> Op:
    """A write of one block."""
    return Op(0, block, 1, NEW)


@pytest.mark.parametrize(
    ("action", "planted", "left"),
    [
        ("power-cut", "", [NEW, NEW, OLD, OLD]),
        ("power-cut", "drop-flushed-write", [NEW, OLD, OLD, OLD]),
        ("power-cut-kept", "", [NEW, NEW, NEW, OLD]),
        ("kill", "", [NEW, NEW, NEW, OLD]),
    ],
)
def test_the_disk_that_the_copy_goes_to_loses_its_cache(
    tmp_path: Path, action: str, planted: str, left: list[bytes]
) -> None:
    """Which is not the first of them: there nothing is written."""
    guest = Guest(tmp_path, [write(0), write(1), Op(FLUSH), write(2)])
    told = guest.cut(action, planted)
    assert told.completion.succeeded
    assert [len(found) for found in told.logs.values()] == [0, 4]
    assert guest.medium(SECOND) == left
    assert guest.medium(FIRST) == [OLD] * BLOCKS
    assert not list(tmp_path.glob("*.base"))


def test_where_not_all_media_can_be_copied_nothing_is_left_behind(tmp_path: Path) -> None:
    guest = Guest(tmp_path, [])
    (tmp_path / SECOND.medium).unlink()
    with pytest.raises(HostError):
        PowerCut.prepared(guest.directory, PATH.stepped)
    assert not list(tmp_path.glob("*.base"))
