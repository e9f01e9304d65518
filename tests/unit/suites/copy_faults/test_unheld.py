# SPDX-License-Identifier: GPL-2.0-or-later
"""A request that fails without having been held: where it can be counted to, and if it came."""

from types import SimpleNamespace
from typing import Any

import pytest

from lab.copy import plant
from lab.copy.model import Completion
from lab.copy.oracle import Tagging
from lab.copy.paths import find
from lab.errors import HostError, UsageError
from lab.faults.model import Point
from lab.profile.load import load
from lab.suites.copy_faults.acts.registry import action_called
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.interruption import Interruption, InterruptionResult
from lab.suites.copy_faults.options import parse
from lab.vm.machine import Machine
from tests.unit.builders import nvme_path

UNHELD = action_called("eio-unheld")


@pytest.mark.parametrize(
    ("profile", "path", "possible"),
    [
        ("nvme-copy", "bdev-cfr", True),
        ("dm-linear-one", "bdev-cfr", True),
        # Each disk would count its own requests, and the points are one order of all of them.
        ("dm-linear-split", "bdev-cfr", False),
        ("nvme-two-disks", "bdev-cfr-across", False),
        ("nvme-cross-namespace", "nvme-cross-ns", False),
    ],
)
def test_over_several_disks_nobody_counts_to_a_request(
    profile: str, path: str, possible: bool
) -> None:
    found = find(load(profile, []), path)
    assert found.possible(UNHELD) is possible
    asked = parse(["--actions", "eio-unheld"])
    if not possible:
        with pytest.raises(UsageError, match="eio-unheld: not possible on this path"):
            asked.possible(found)


def stats(qdev: str, reads: int, writes: int) -> dict[str, Any]:
    """What query-blockstats says of a disk, as far as it is read (QEMU 7.2.22)."""
    failed = {"failed_rd_operations": reads, "failed_wr_operations": writes}
    return {"device": "", "qdev": qdev, "stats": {"rd_operations": 99, **failed}}


class Disks:
    """A QEMU of which only the statistics are asked, of two disks."""

    def __init__(self, **failed: tuple[int, int]) -> None:
        self.failed = failed
        self.machine = Machine.__new__(Machine)
        self.machine.execute = self._execute  # type: ignore[method-assign]

    def _execute(self, command: str, *_: object, **__: object) -> list[dict[str, Any]]:
        assert command == "query-blockstats"
        plain = [{"device": "cd0", "stats": {}}]
        return plain + [
            stats(f"/machine/peripheral/{disk}", *failed) for disk, failed in self.failed.items()
        ]


def told(disks: Disks, after: tuple[int, int]) -> InterruptionResult:
    """What came of a copy whose disk counts so many failed requests when it has ended."""
    bench: Any = Bench.__new__(Bench)
    bench.path, bench._blind, bench.case = nvme_path(), "", "1"
    bench.run = SimpleNamespace(emit=lambda *_, **__: None)
    bench._own = SimpleNamespace(
        guest=SimpleNamespace(machine=disks.machine), works_for=lambda *_: None
    )
    bench._taps = SimpleNamespace(
        forget=lambda: None, kernel_messages=list, writes=list, elsewhere=list
    )
    bench.set_fault = lambda fault: None

    def start(_: object) -> None:
        disks.failed[bench.drive.id] = after

    def completed(_: float) -> Completion:
        bench.answered = {"status": 0}
        return Completion(0, 0, 0.1)

    bench.start, bench.completed = start, completed
    layout = bench.path.layout(2, 8)
    setup = Setup(layout, Point.parse("read:2"), UNHELD, bench.path.name, bench.path.ref)
    tagging = Tagging(layout.window, 1, 7)
    return Interruption(bench, setup, tagging, plant.find(""), 10.0).carry_out()


def test_a_disk_that_is_gone_or_there_twice_is_told() -> None:
    for disks in (Disks(d1n1=(0, 0)), Disks(**{"d0n1": (0, 0), "d0n1/x": (0, 0)})):
        with pytest.raises(HostError, match=r"requests of [02] disks called d0n1"):
            disks.machine.failed_requests(nvme_path().drive)


def test_a_request_that_failed_was_reached() -> None:
    assert told(Disks(d0n1=(3, 0), d1n1=(0, 0)), (4, 0)).reached


def test_where_no_request_of_the_disk_failed_the_point_was_not_reached() -> None:
    """The copy had fewer requests than the one before it: there was no fault."""
    assert not told(Disks(d0n1=(3, 0), d1n1=(9, 9)), (3, 0)).reached
