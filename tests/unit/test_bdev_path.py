# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies within block devices: where they lie on the disks below, and what proves them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.model import SECTOR, Copy, Extent
from lab.copy.paths import find
from lab.copy.paths.base import CopyPath, Observation
from lab.copy.paths.bdev import BdevCfr
from lab.copy.paths.placement import Placement, linear
from lab.profile.layers.mapping import DmLinear
from lab.profile.load import load
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
