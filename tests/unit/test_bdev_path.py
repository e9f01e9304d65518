# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies within block devices: where they lie on the disks below, and what proves them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.model import SECTOR, Copy, Extent, Layout
from lab.copy.oracle import Tagging
from lab.copy.paths import find
from lab.copy.paths.base import CopyPath, Observation
from lab.copy.paths.bdev import BdevCfr
from lab.copy.paths.bdevs import BdevCfrAcross, BdevCfrMemory
from lab.copy.paths.instrument import Subject
from lab.copy.paths.placement import Placement, linear
from lab.copy.paths.stacked import BdevCfrStacked
from lab.crash.writelog import Flag, LogEntry
from lab.faults.model import REHEARSED
from lab.profile.layers.mapping import DmLinear
from lab.profile.load import load
from lab.suites.copy_faults.acts.registry import action_called
from lab.suites.copy_faults.options import parse
from lab.vm.graph import Drive
from tests.unit.test_own_path import here, two

SPLIT = load("dm-linear-split", [])

__all__ = ["here"]  # a fixture


def parts() -> tuple[Placement, ...]:
    """Those of the profile's linear device."""
    (layer,) = SPLIT.layers
    assert isinstance(layer, DmLinear)
    return linear(SPLIT, layer)


def test_the_parts_of_a_linear_device_are_one_behind_the_other() -> None:
    found = parts()
    assert [part.drive.nsid for part in found] == [1, 2, 1, 2, 1]
    assert [part.start for part in found] == [0, 16384, 65536, 65536, 98304]
    assert found[0].extent == Extent(0, 32768)
    assert all(one.extent.end == next_.extent.start for one, next_ in pairwise(found))
    assert found[-1].extent.end * SECTOR == 56 << 20


DRIVE = Drive("d0n1", "S", 1, 2**20, 512)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 300), st.integers(0, 60))
def test_what_lies_below_is_found_above_and_nothing_else(
    at: int, start: int, asked: int, sectors: int
) -> None:
    part = Placement(Extent(at, 100), DRIVE, start)
    above = part.above(Extent(asked, sectors))
    wanted = {
        below - start + at
        for below in range(asked, asked + sectors)
        if start <= below < start + 100
    }
    assert set(above or ()) == wanted


def path(name: str = "bdev-cfr") -> CopyPath:
    """A path on the linear device."""
    return find(SPLIT, name)


def test_a_copy_over_two_parts_crosses_from_one_to_the_other() -> None:
    plan = path().layout(4, 64)
    border = parts()[0].extent.end
    last = plan.copy.sources[-1]
    assert last.start < border < last.end
    assert plan.copy.destination > border
    assert all(source.end <= border for source in plan.copy.sources[:-1])
    assert all(each in plan.window for each in (plan.copy.sources[0].start, last.start))
    assert plan.window.start == plan.copy.sources[0].start - path().guard


def test_the_points_are_those_of_all_its_disks() -> None:
    assert [drive.nsid for drive in path().stepped] == [1, 2]
    assert [drive.nsid for drive in path().others] == [2]


COPY = Copy((Extent(32760, 16),), destination=32900)
"""Its source: 8 sectors at the end of the first part, on namespace 1 from sector 32760 on, and 8 on
namespace 2 from 16384 on."""


def io(nsid: int, lba: int, event: str = "read", blocks: int = 8) -> str:
    """A traced read or write."""
    return f"1@1.0:pci_nvme_{event} cid 1 nsid {nsid} nlb {blocks} count 4096 lba {lba:#x}\n"


OFFLOADED = "1@1.0:pci_nvme_copy cid 1 nsid 1 nr 1 format 0x0\n" + (
    "1@1.0:pci_nvme_copy_source_range slba 0x7ff8 nlb 8\n" * 2
)


@pytest.mark.parametrize(
    ("trace", "proof", "fallback"),
    [
        (OFFLOADED, True, False),
        # Elsewhere: before the source, what its address is on the other disk, another part.
        (OFFLOADED + io(1, 32752) + io(2, 32760) + io(1, 16384), True, False),
        (OFFLOADED + io(1, 32760), False, False),
        (OFFLOADED + io(2, 16384), False, False),
        # 32900 is sector 132 of the second part.
        (io(1, 32760) + io(2, 16384) + io(2, 16516, "write"), False, True),
        ("", False, False),
    ],
)
def test_the_devices_tell_who_moved_the_data(trace: str, proof: bool, fallback: bool) -> None:
    seen = path().offload(Observation(trace, 0, None, 1), COPY)
    assert (bool(seen.proof), bool(seen.fallback)) == (proof, fallback)
    assert bool(seen.against) == (not proof)


def test_on_a_namespace_its_trace_is_the_proof_and_no_counter() -> None:
    """The kernel counts the source of an offloaded copy as sectors that were read."""
    plain = find(load("nvme-copy", []), "bdev-cfr")
    copy = plain.layout(1, 64).copy
    assert plain.offload(Observation(OFFLOADED, 0, None, 1), copy).proof
    assert "no Copy" in plain.offload(Observation("", 0, None, 1), copy).against


@pytest.mark.parametrize(
    ("name", "direct"),
    [
        ("bdev-cfr", (True, True)),
        ("bdev-cfr-buffered", (False, False)),
        ("bdev-cfr-direct-source", (True, False)),
        ("bdev-cfr-direct-target", (False, True)),
    ],
)
def test_each_end_is_asked_for_by_name(name: str, direct: tuple[bool, bool]) -> None:
    assert path(name).request(COPY)["direct"] == direct


@pytest.mark.usefixtures("here")
def test_a_linear_device_over_something_else_is_no_place() -> None:
    profile = two(
        "layers:",
        "- {name: nothing, type: null-blk, size: 16M}",
        "- {name: l, type: dm-linear, segments: [{over: nothing, size: 8M}]}",
    )
    assert "l" not in {each.ref for each in BdevCfr.candidates(profile)}


def entry(sector: int, sectors: int) -> LogEntry:
    """A write in a write log."""
    return LogEntry(0, sector * SECTOR, sectors * SECTOR, Flag(0), 0, 0)


@pytest.mark.parametrize(
    ("nsid", "sector", "sectors", "strays"),
    [
        (2, 16516, 16, 0),  # 32900 is sector 132 of the second part
        (2, 16516, 17, 1),
        (2, 16515, 1, 1),
        # The same address on the other disk, or no part at all: the whole disks are watched.
        (1, 16516, 16, 1),
        (2, 0, 1, 1),
        (2, 0, 0, 0),  # a flush
    ],
)
def test_writes_to_all_disks_below_are_told(
    nsid: int, sector: int, sectors: int, strays: int
) -> None:
    (drive,) = {part.drive for part in parts() if part.drive.nsid == nsid}
    found = list(path().strays({drive: [entry(sector, sectors)]}, COPY))
    assert len(found) == strays
    assert all(f"LABNVME0:{nsid}" in each for each in found)


def test_whoever_writes_through_the_page_cache_may_write_whole_pages() -> None:
    plain = load("nvme-copy", [])
    copy = Copy((Extent(4096, 3),), destination=8195)
    for name, strays in (("bdev-cfr", 1), ("bdev-cfr-buffered", 0)):
        found = find(plain, name)
        assert len(list(found.strays({found.drive: [entry(8192, 8)]}, copy))) == strays
        assert list(found.strays({found.drive: [entry(8192, 9)]}, copy))


def test_what_is_written_later_cannot_be_damaged_before() -> None:
    profile = load("nvme-copy", [])
    for name, possible in (("bdev-cfr", True), ("bdev-cfr-buffered", False)):
        assert find(profile, name).possible(action_called("corrupt")) is possible


def test_through_the_page_cache_nothing_is_left_of_the_copy_before(tmp_path: Path) -> None:
    """The medium is tagged from the host, of which the guest's page cache knows nothing."""
    medium, asked = tmp_path / "medium", []
    medium.write_bytes(bytes(64 << 10))

    def ask(**request: Any) -> dict[str, Any]:
        asked.append((request["op"], medium.read_bytes(), request["node"]))
        return {}

    plan = Layout(Copy((Extent(2, 1),), 4), Extent(0, 8))
    for name, forgets in (("bdev-cfr", 0), ("bdev-cfr-buffered", 1), ("bdev-cfr-direct-target", 1)):
        found = find(load("nvme-copy", []), name).on(Subject(ask, medium))
        before = medium.read_bytes()
        found.prepare(plan.copy, Tagging(plan.window, 1, 1))
        # First the page cache, which may still have something to write.
        assert asked == [("sectors.forget", before, "/dev/lab/LABNVME0:1")] * forgets
        asked.clear()


def across() -> BdevCfrAcross:
    """The path from the first disk to the second."""
    found = find(load("nvme-two-disks", []), "bdev-cfr-across")
    assert isinstance(found, BdevCfrAcross)
    return found


def test_from_one_disk_to_another_nothing_may_be_written_to_the_first() -> None:
    path = across()
    copy = path.layout(1, 8).copy
    assert (path.drive.serial, path.source.serial) == ("LABNVME1", "LABNVME0")
    assert path.request(copy)["source"] == "/dev/lab/LABNVME0:1"
    right = entry(copy.destination, 8)
    assert not list(path.strays({path.drive: [right], path.source: []}, copy))
    assert len(list(path.strays({path.drive: [], path.source: [right]}, copy))) == 1


@pytest.mark.usefixtures("here")
def test_within_a_partition_its_first_sector_is_taken_off() -> None:
    found = find(load("nvme-partition", []), "bdev-cfr")
    first, copy = 8 * 2048, Copy((Extent(4096, 8),), destination=8192)
    assert not found.on_medium
    assert not list(found.strays({found.drive: [entry(8192 + first, 8)]}, copy))
    assert list(found.strays({found.drive: [entry(8192, 8)]}, copy))
    assert found.offload(Observation(OFFLOADED + io(1, 4096), 0, None, 1), copy).proof
    assert not found.offload(Observation(OFFLOADED + io(1, 4096 + first), 0, None, 1), copy).proof


def test_a_target_over_a_namespace_has_its_sectors() -> None:
    found = find(load("nvmet-loop-bdev", []), "bdev-cfr", "target")
    assert found.on_medium
    assert found.node == "/dev/lab/target"


def test_disks_in_memory_have_no_points_but_the_end() -> None:
    profile = load("null-blk", [])
    refs = [each.ref for each in BdevCfrMemory.candidates(profile)]
    assert refs == ["memory", "blocks", "mixed", "moved"]
    found = find(profile, "bdev-cfr-memory", "moved")
    assert found.size == 48 << 20
    assert [str(point) for point in found.points(3) or ()] == ["completed"]
    assert find(profile, "bdev-cfr-memory", "blocks").unit == 8
    assert find(profile, "bdev-cfr-memory", "mixed").size == 32 << 20


def test_zones_that_are_written_in_order_are_no_disk_to_copy_within() -> None:
    change = ["layers[mixed].zoned.conventional=0", "layers[below].zoned={zone_size: 4M}"]
    refs = [each.ref for each in BdevCfrMemory.candidates(load("null-blk", change))]
    assert refs == ["memory", "blocks"]


def test_disks_over_files_or_several_are_reached_through_the_guest() -> None:
    places = {
        name: [each.ref for each in BdevCfrStacked.candidates(load(name, []))]
        for name in ("copyref-xfs", "md-disks", "nvmet-loop-file", "nvmet-loop-bdev", "nvme-copy")
    }
    assert places == {
        "copyref-xfs": ["model"], "md-disks": ["stripes", "mirror"],
        "nvmet-loop-file": ["target"], "nvmet-loop-bdev": [], "nvme-copy": [],
    }  # fmt: skip
    found = find(load("md-disks", []), "bdev-cfr-stacked")
    assert (found.ref, found.unit, found.on_medium, found.splits) == ("stripes", 1, False, True)
    assert found.request(found.layout(1, 8).copy)["direct"] == (True, True)
    assert len({found.drive, *found.others}) == 2


def test_the_reference_says_what_it_splits_and_shares() -> None:
    changes = ["layers[model].block_size=512", "layers[model].copy={mssrl: 100, mcl: 200, msrc: 2}"]
    found = find(load("copyref-xfs", changes), "bdev-cfr-stacked")
    assert (found.unit, found.bounds.mssrl, found.bounds.mcl) == (8, 12, 25)
    assert "above mssrl" in dict(found.sizes())
    silent = {"moved": {"bios": [], "lost": 0}}
    copy = found.layout(1, 8).copy
    carried, shared = (found.offload(Observation("", count, silent, 1), copy) for count in (3, 0))
    assert carried.against and not shared.against
    # What a target does with a copy that it was given is no fallback.
    target = find(load("nvmet-loop-file", []), "bdev-cfr-stacked")
    assert target.offload(Observation("", 3, silent, 1), copy).proof


def test_where_nothing_is_held_a_copy_without_fault_is_what_can_be_tried() -> None:
    found = find(load("null-blk", []), "bdev-cfr-memory")
    for asked, possible in (("eio,kill", "rehearsal"), ("eio,size", "size")):
        options = parse(["--actions", asked])
        assert [str(each) for each in options.possible(found)] == [possible]
        assert options.cells(found, [REHEARSED]) == []


def test_copies_around_the_devices_limit_are_split_and_not_refused() -> None:
    found = find(load("nvme-copy", []), "bdev-cfr")
    most = found.bounds.mssrl
    shapes = {name: plan.copy.target.sectors for name, plan in found.sizes()}
    assert found.splits
    assert shapes == {
        "one block": 1, "at mssrl": most, "above mssrl": most + 1, "above twice mssrl": 2 * most + 1
    }  # fmt: skip
