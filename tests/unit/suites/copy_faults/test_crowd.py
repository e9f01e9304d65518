# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies with rivals: what is drawn can be carried out, meets, and is read again as it was told."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.concurrent import Crowd, Rivals
from lab.copy.contract import Offload
from lab.copy.model import Copy, Extent
from lab.copy.oracle import Tagging
from lab.copy.paths.base import Observation
from lab.errors import UsageError
from lab.faults.actions import CONCURRENT, REHEARSAL
from lab.faults.model import REHEARSED
from lab.profile.models import CopyLimits
from lab.suites.copy_faults import behind
from lab.suites.copy_faults import crowd as crowds
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.generate import draw, space
from lab.suites.copy_faults.options import parse
from tests.unit.builders import nvme_path
from tests.unit.suites.copy_faults.test_generate import limits, zns_path


@given(limits(), st.sampled_from([512, 4096]), st.integers(), st.integers(1, 1000))
def test_rivals_are_copies_and_writes_that_can_be_carried_out_and_meet(
    allowed: CopyLimits, block: int, seed: int, number: int
) -> None:
    path = nvme_path(2**26, block_size=block, limits=allowed)
    asked = parse(["--cases", "1", "--actions", "concurrent", "--blocks", "64"])
    plan = draw(space(asked, path), seed, number)
    rivals = crowds.draw(path, plan, seed, number)
    assert rivals == crowds.draw(path, plan, seed, number)
    copy, window, unit = plan.copy, plan.window, path.unit
    assert 1 <= len(rivals.copies) + len(rivals.writes) <= crowds.MOST
    parts = [*copy.sources, copy.target]
    for each in rivals.copies:
        (source,) = each.sources
        assert not source.overlaps(each.target)
        assert source.sectors // unit <= min(allowed.mssrl, allowed.mcl)
    used = [*rivals.targets(copy)[1:], *(each.sources[0] for each in rivals.copies)]
    for extent in used:
        assert window.start < extent.start or window.start == min(part.start for part in parts)
        assert extent.end <= max(part.end for part in parts)
        assert extent.start % unit == extent.sectors % unit == 0 < extent.sectors
        assert any(extent.start <= part.end and part.start <= extent.end for part in parts)
    setup = Setup(plan, REHEARSED, CONCURRENT, path.name, path.ref, rivals=rivals)
    assert Setup.read(setup.document()) == setup


def test_all_shapes_of_rivals_come_up() -> None:
    path = nvme_path(2**26)
    plan = path.layout(4, 64)
    drawn = [crowds.draw(path, plan, 7, number) for number in range(200)]
    copy = plan.copy
    assert any(not each.copies for each in drawn)
    assert any(not each.writes for each in drawn)
    others = [each for rivals in drawn for each in rivals.copies]
    assert any(each.target.overlaps(copy.target) for each in others)
    assert any(each.sources[0].overlaps(copy.target) for each in others)
    assert any(each.target.overlaps(source) for each in others for source in copy.sources)
    written = [extent for rivals in drawn for extent in rivals.writes]
    assert any(extent.overlaps(copy.target) for extent in written)
    assert any(extent.overlaps(source) for extent in written for source in copy.sources)
    assert any(
        extent.start == copy.target.end or extent.end == copy.target.start for extent in written
    )


@pytest.mark.parametrize(
    "rivals",
    [
        {"copies": [], "writes": [[0, 8]]},
        {"copies": [], "writes": [[2112, 3]]},
        {"copies": [{"sources": [[1 << 30, 8]], "destination": 2112}], "writes": []},
    ],
)
def test_rivals_outside_of_the_window_or_of_no_whole_blocks_are_refused(
    rivals: dict[str, object],
) -> None:
    path = nvme_path(2**26, block_size=4096)
    setup = Setup(path.layout(1, 8), REHEARSED, CONCURRENT, path.name, path.ref)
    with pytest.raises(ValueError, match="a copy or write"):
        Setup.read({**setup.document(), "rivals": rivals})


def test_a_zone_has_no_rivals() -> None:
    with pytest.raises(UsageError, match="not possible on this path"):
        parse(["--actions", "concurrent"]).possible(zns_path(2**22, 2**22, 512))


def crowd_of(*writes: Extent) -> Crowd:
    """A copy of eight sectors, another one, and writes."""
    copy = Copy((Extent(2112, 8),), 2200)
    rivals = Rivals((Copy((Extent(2112, 8),), 2208),), writes)
    tagging = Tagging(Extent(2048, 512), 1, 7)
    return Crowd(copy, rivals, tagging, tuple(crowds.taggings(rivals, 2, 7)), 1)


def test_who_moved_the_data_is_told_where_nobody_else_wrote() -> None:
    path, seen = nvme_path(2**26), Observation("", 0, None, 1)
    assert crowds.offload(path, seen, crowd_of()).against == "the device saw no Copy command"
    told = crowds.offload(path, seen, crowd_of(Extent(2112, 8)))
    assert told == Offload(untold="others wrote to the same sectors at the same time")


def test_what_the_disk_may_be_asked_to_write_spans_all_destinations() -> None:
    assert crowds.written(crowd_of(Extent(2300, 8))).target == Extent(2200, 108)
    asked: dict[str, Any] = crowds.request(nvme_path(2**26), crowd_of(Extent(2300, 8)))
    assert [each["op"] for each in asked["copies"]] == ["nvme.copy"] * 2
    (write,) = asked["writes"]
    assert write["offset"] == 2300 * 512


def test_a_sweep_has_its_crowds_behind_all_others_and_counts_them() -> None:
    path = nvme_path(2**26)
    first = Setup(path.layout(2, 16), REHEARSED, REHEARSAL, path.name, path.ref)
    bench: Any = None
    told: list[int] = []

    def before(_: Any, expect: Callable[[int], None]) -> Iterator[tuple[int, Setup]]:
        yield 0, first
        expect(4)
        yield from ((number, replace(first, cut=number)) for number in (1, 2, 3))

    found = list(behind.with_crowds(before, path, first)(bench, told.append))
    assert told == [4 + crowds.SWEPT]
    assert [number for number, _ in found] == list(range(4 + crowds.SWEPT))
    behind_all = [setup for _, setup in found[4:]]
    assert all(setup.action == CONCURRENT and setup.rivals for setup in behind_all)
    assert len({setup.rivals for setup in behind_all}) == crowds.SWEPT
    assert not any(setup.rivals for _, setup in found[:4])
