# SPDX-License-Identifier: GPL-2.0-or-later
"""The oracle on a bench: whose tags are whose, and what it says of a ground that is gone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.copy.concurrent import Rivals
from lab.copy.model import SECTOR, Extent
from lab.copy.oracle import SectorState, Tagging, classify
from lab.copy.paths import find
from lab.copy.paths.instrument import Subject
from lab.copy.tags import unreadable
from lab.errors import GuestError, HostError
from lab.profile.load import load
from lab.suites.copy_faults.oracle import Oracle
from tests.unit.builders import nvme_path

PATH = nvme_path(2**22)
LAYOUT = PATH.layout(2, 8)


def oracle(instrument: Any, *, alive: bool = True) -> Oracle:
    """One whose guest is up, or has gone."""
    run: Any = SimpleNamespace(number=7, emit=lambda *_, **__: None)
    guest: Any = SimpleNamespace(machine=SimpleNamespace(alive=lambda: alive))
    return Oracle(run, guest, instrument)


def on(medium: Path) -> Oracle:
    """One that reads and writes a file."""
    return oracle(PATH.on(Subject(lambda **_: {}, medium)))


def test_each_copy_has_a_generation_and_so_has_each_rivals_write(tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    medium.write_bytes(bytes(2**22))
    found = on(medium)
    first = found.tag(LAYOUT)
    crowd = found.crowd(LAYOUT.copy, Rivals(writes=(Extent(0, 8), Extent(8, 8))), first)
    second = found.tag(LAYOUT)
    assert crowd.atom == PATH.drive.block_size // SECTOR
    tags = [first, *crowd.written, second]
    assert [(each.generation, each.run) for each in tags] == [(n, 7) for n in range(1, 5)]
    assert found.read(second) == second.data()
    assert found.look(LAYOUT.copy, second) == classify(LAYOUT.copy, second, second.data())


def test_a_medium_that_cannot_be_written_is_the_hosts(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot write"):
        on(tmp_path / "none").tag(LAYOUT)


def test_what_cannot_be_opened_is_lost_unless_the_guest_is_gone() -> None:
    def shut(*_: object) -> bytes:
        raise GuestError("ENXIO")

    instrument = SimpleNamespace(ground=SimpleNamespace(read=shut))
    tagging = Tagging(LAYOUT.window, 1, 7)
    lost = unreadable("what held it is gone") * LAYOUT.window.sectors
    assert oracle(instrument).read(tagging) == lost
    with pytest.raises(GuestError, match="ENXIO"):
        oracle(instrument, alive=False).read(tagging)


@pytest.mark.parametrize(
    ("beside", "block", "state"), [(4096, 512, SectorState.NEW), (512, 4096, SectorState.TORN)]
)
def test_a_crowd_is_judged_by_the_blocks_of_the_disk_that_it_is_on(
    beside: int, block: int, state: SectorState
) -> None:
    """A write over the first half of 4 KiB that a copy brings: whole blocks of the one, half a
    block of the other.  The emulated disk beside it, which is there to be watched, does not
    count."""
    changes = [
        f"devices[0].namespaces[0].block_size={beside}", f"layers[memory].block_size={block}",
    ]  # fmt: skip
    path = find(load("null-blk", changes), "bdev-cfr-memory", "memory")
    assert (path.drive.block_size, path.atom) == (beside, block)
    layout = path.layout(1, 4096 // block)
    copy, tagging = layout.copy, Tagging(layout.window, 1, 7)
    written = Extent(copy.destination, 8 if block == 4096 else 4)
    instrument = path.on(Subject(lambda **_: {}, Path()))
    crowd = oracle(instrument).crowd(copy, Rivals(writes=(written,)), tagging)
    data = bytearray(tagging.copied(copy).data)
    first = (copy.destination - layout.window.start) * SECTOR
    data[first : first + 4 * SECTOR] = crowd.written[0].data()[: 4 * SECTOR]
    found, _ = crowd.findings(bytes(data))
    assert set(found.destination) == {state}
