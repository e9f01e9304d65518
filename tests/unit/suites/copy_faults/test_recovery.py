# SPDX-License-Identifier: GPL-2.0-or-later
"""The same copy again: who made it is observed as of the copy before it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.copy.contract import Recovery
from lab.copy.model import SECTOR, Completion
from lab.copy.paths.instrument import Subject
from lab.errors import GuestError
from lab.suites.copy_faults.inquest import Inquest
from lab.suites.copy_faults.recovery import recovered
from tests.unit.builders import nvme_path
from tests.unit.suites.copy_faults.test_bench import OOPS, TRACE, Machine
from tests.unit.suites.copy_faults.test_oracle import oracle

PATH = nvme_path(2**22)
LAYOUT = PATH.layout(2, 8)
COMMAND = "1@1.0:pci_nvme_copy cid 1 nsid 1 nr 2 format 0x0\n" + "".join(
    f"1@1.0:pci_nvme_copy_source_range slba {each.start:#x} nlb {each.sectors}\n"
    for each in LAYOUT.copy.sources
)
BY_HAND = f"1@1.0:pci_nvme_write cid 1 nsid 1 nlb 16 lba {LAYOUT.copy.destination:#x}\n"


class Bench:
    """What a recovery asks of a bench whose device traces so, and copies."""

    def __init__(self, medium: Path, trace: str) -> None:
        medium.write_bytes(bytes(2**22))
        self.hangs, self.dumped, self.ends = False, "", 0
        self.dies_behind, self.overheard = False, list[str]()
        self.path, self.answered = PATH, {"status": 0}
        self.instrument = PATH.on(Subject(lambda **_: {}, medium))
        self.oracle = oracle(self.instrument)
        run: Any = SimpleNamespace(emit=lambda *_, **__: None)
        machine: Any = Machine(medium.parent)
        self.inquest, self.console = Inquest(run, machine, self.dump), machine.console
        self._said, self._trace = "what was before", trace
        self.taps = SimpleNamespace(
            forget=self._forget, trace=lambda: self._said, carrying=self._none
        )

    def _forget(self) -> None:
        self._said = ""

    def _none(self, *_: object) -> int:
        return 0

    def logs(self) -> Any:
        return {PATH.drive: []}

    def start(self, _: object) -> None:
        self._said += self._trace
        ground, copy = self.instrument.ground, LAYOUT.copy
        for source, target in copy.pieces():
            ground.write(target.start, ground.read(source))

    def completed(self, _: float) -> Completion | None:
        return None if self.hangs else Completion(0, 2, 0.1)

    def overhear(self, when: str) -> None:
        assert not self.hangs, "nobody answers"
        self.heard = when
        if self.dies_behind:
            with self.console.open("a") as log:
                log.write(OOPS + TRACE)
            raise GuestError("the executor in the guest ended")

    def dump(self, why: str) -> None:
        assert self.hangs or self.dies_behind, why
        self.dumped = why

    def end(self) -> None:
        self.ends += 1

    def reboot(self) -> None:
        self.ends += 1

    def mend(self, *, rebooted: bool) -> str:
        return "" if rebooted else "not booted again"


@pytest.mark.parametrize(("trace", "offloaded"), [(COMMAND, True), (BY_HAND, False)])
def test_who_made_the_same_copy_again_is_told(tmp_path: Path, trace: str, offloaded: bool) -> None:
    bench: Any = Bench(tmp_path / "medium", trace)
    found: Recovery = recovered(bench, LAYOUT, 10.0, "")
    # What the kernel complains of in it is one of the case.
    assert bench.heard == "in the same copy again"
    assert found.completion and found.completion.succeeded and not found.problem
    assert set(found.findings.destination) == {"new"}
    assert len(found.findings.destination) * SECTOR == 16 * 512
    assert bool(found.offload.proof) is offloaded
    assert bool(found.offload.fallback) is not offloaded


def test_a_copy_again_that_never_ends_is_what_is_told(tmp_path: Path) -> None:
    bench: Any = Bench(tmp_path / "medium", COMMAND)
    bench.hangs = True
    found: Recovery = recovered(bench, LAYOUT, 10.0, "")
    assert found.completion is None
    assert "no completion within 10.0 s" in bench.dumped
    assert bench.ends == 2


def test_a_kernel_that_dies_right_behind_the_copy_again_is_a_finding(tmp_path: Path) -> None:
    bench: Any = Bench(tmp_path / "medium", COMMAND)
    bench.dies_behind = True
    found: Recovery = recovered(bench, LAYOUT, 10.0, "")
    assert found.completion and found.completion.succeeded
    assert "NULL pointer dereference" in found.problem
    # Nobody asks a guest that is gone.
    assert bench.ends == 2 and not bench.dumped.startswith("the same copy")
    (told,) = bench.overheard
    assert "NULL pointer dereference" in told and "in the same copy again" in told
