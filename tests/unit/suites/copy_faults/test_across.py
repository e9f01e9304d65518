# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies from one disk to another: from which of the two the data came, and what is of which."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.copy import plant
from lab.copy.concurrent import Rivals
from lab.copy.ground import MediumGround
from lab.copy.model import SECTOR, Copy, Extent
from lab.copy.oracle import SectorState, flip_bit
from lab.copy.paths import find
from lab.copy.paths.base import CopyPath
from lab.copy.paths.instrument import Subject
from lab.profile.load import load
from lab.suites.copy_faults.acts import host
from lab.suites.copy_faults.oracle import Oracle
from tests.unit.suites.copy_faults.test_oracle import oracle

PLACES = {"bdev-cfr-across": "nvme-two-disks", "nvme-cross-ns": "nvme-cross-namespace"}
NEW, OLD, FOREIGN = SectorState.NEW, SectorState.OLD, SectorState.FOREIGN


class Disks:
    """The media of both disks, tagged by an oracle, and a device that copies between them."""

    def __init__(self, name: str, directory: Path) -> None:
        self.path: CopyPath = find(load(PLACES[name], []), name)
        assert self.path.source
        self.layout = self.path.layout(2, 4)
        self.target, self.source = (
            directory / drive.medium for drive in (self.path.drive, self.path.source)
        )
        for medium in (self.target, self.source):
            medium.write_bytes(bytes(2 << 20))
        self.instrument = self.path.on(Subject(lambda **_: {}, self.target))
        self.oracle: Oracle = oracle(self.instrument)
        self.tagging = self.oracle.tag(self.layout)

    @property
    def copy(self) -> Copy:
        """The copy."""
        return self.layout.copy

    def carry_out(self, source: Path, copy: Copy | None = None) -> None:
        """Copy to the target, as a device does that reads this medium."""
        for part, target in (copy or self.copy).pieces():
            MediumGround(self.target).write(target.start, MediumGround(source).read(part))


@pytest.fixture(params=PLACES)
def disks(request: pytest.FixtureRequest, tmp_path: Path) -> Disks:
    return Disks(request.param, tmp_path)


def test_what_came_from_the_source_s_disk_is_new(disks: Disks) -> None:
    before = disks.oracle.look(disks.copy, disks.tagging)
    assert set(before.destination) == {OLD}
    assert not before.changed_source and not before.changed_neighbour
    disks.carry_out(disks.source)
    found = disks.oracle.look(disks.copy, disks.tagging)
    assert set(found.destination) == {NEW}
    assert not found.changed_source and not found.changed_neighbour and not found.notes


def test_what_came_from_the_same_address_of_the_destination_s_disk_is_foreign(disks: Disks) -> None:
    disks.carry_out(disks.target)
    found = disks.oracle.look(disks.copy, disks.tagging)
    assert set(found.destination) == {FOREIGN}
    told = f"data of sector {disks.copy.sources[0].start} of the destination's disk"
    assert found.notes[disks.copy.destination] == told


def test_of_the_right_disk_and_the_wrong_sector_that_is_told(disks: Disks) -> None:
    disks.carry_out(disks.source)
    plant.find("wrong-range").medium(disks.instrument.ground, disks.copy, disks.tagging, True)
    found = disks.oracle.look(disks.copy, disks.tagging)
    last = disks.copy.sources[-1].end - 1
    assert found.notes == {disks.copy.destination: f"data of sector {last} of the source's disk"}


def test_sources_are_those_of_their_disk_and_the_same_addresses_of_the_other_are_neighbours(
    disks: Disks,
) -> None:
    disks.carry_out(disks.source)
    first, second = (part.start for part in disks.copy.sources)
    before = disks.source.read_bytes()
    flip_bit(MediumGround(disks.target), second)
    assert disks.oracle.look(disks.copy, disks.tagging).changed_neighbour == (second,)
    plant.find("change-source").medium(disks.instrument.ground, disks.copy, disks.tagging, True)
    found = disks.oracle.look(disks.copy, disks.tagging)
    assert (found.changed_source, found.changed_neighbour) == ((first,), (second,))
    assert found.notes[first] == "on the source's disk zeroes"
    assert set(found.destination) == {NEW}
    at = first * SECTOR
    assert disks.source.read_bytes() == before[:at] + bytes(SECTOR) + before[at + SECTOR :]


def scene(disks: Disks, **more: Any) -> Any:
    """As much of a scene as an act on the medium asks for."""
    bench = SimpleNamespace(ground=disks.instrument.ground)
    return SimpleNamespace(
        bench=bench, tagging=disks.tagging, part=disks.copy.pieces()[0], hang=1.0,
        point=SimpleNamespace(k=1), **more,
    )  # fmt: skip


def test_a_lost_write_is_one_of_the_destination_s_disk_alone(disks: Disks) -> None:
    disks.carry_out(disks.source)
    before = disks.source.read_bytes()
    lost = host.lose_write(scene(disks)).lost
    found = disks.oracle.look(disks.copy, disks.tagging)
    assert [found.destination[at - disks.copy.destination] for at in lost] == [OLD] * 4
    assert disks.source.read_bytes() == before


def test_a_stale_read_finds_what_the_source_s_disk_had(
    disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Grip:
        """Lets the device read on."""

        def advance(self, *_: object) -> None:
            disks.carry_out(disks.source)

    monkeypatch.setattr(host, "Stepper", Grip)
    disks.tagging = disks.oracle.tag(disks.layout)
    host.read_stale(scene(disks, grip=Grip()))
    found = disks.oracle.look(disks.copy, disks.tagging)
    assert found.destination == (FOREIGN,) * 4 + (NEW,) * 4
    assert found.notes[disks.copy.destination].startswith("stale data of sector")
    assert not found.changed_source and not found.changed_neighbour


def test_among_rivals_no_copy_brings_what_was_written_to_the_other_disk(disks: Disks) -> None:
    source = disks.copy.sources[0]
    write = Extent(source.start, source.sectors)
    crowd = disks.oracle.crowd(disks.copy, Rivals(writes=(write,)), disks.tagging)
    MediumGround(disks.target).write(write.start, crowd.written[0].data())
    disks.carry_out(disks.source)
    found, rival = disks.oracle.look_at_crowd(crowd)
    assert set(found.destination) == set(rival.destination) == {NEW}
    assert not found.changed_source and not found.changed_neighbour
    disks.carry_out(disks.target)
    found, _ = disks.oracle.look_at_crowd(crowd)
    assert found.destination == (FOREIGN,) * 8
    assert found.notes[disks.copy.destination].startswith("of write 1: ")
