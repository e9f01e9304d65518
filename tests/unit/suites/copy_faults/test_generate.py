# SPDX-License-Identifier: GPL-2.0-or-later
"""Generated cases: every one is a legal copy, and all the shapes worth trying come up."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lab.copy.model import SECTOR, Copy, Extent, Layout
from lab.copy.paths.base import FIRST, GUARD
from lab.copy.paths.nvme import NvmeCopy, check_limits
from lab.copy.paths.zns import ZnsCopy
from lab.errors import UsageError
from lab.faults.model import Point, Stage, points_of
from lab.profile.models import CopyLimits, NvmeNamespace
from lab.suites.copy_faults.acts.registry import swept
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.generate import GRID, Space, cut, draw, space, strike
from lab.suites.copy_faults.options import parse
from lab.vm.graph import Drive
from tests.unit.builders import nvme_path

LIMITS = CopyLimits(mssrl=256, mcl=4096, msrc=128)


def drawn_from(*args: str, limits: CopyLimits = LIMITS, on: NvmeCopy | None = None) -> Space:
    """What `--cases` with these arguments draws from."""
    return space(parse(["--cases", "1", *args]), on or nvme_path(2**28, limits=limits))


def case(where: Space, seed: int, number: int) -> Setup:
    """A whole case: a copy, and what happens where."""
    plan = draw(where, seed, number)
    point, action = strike(where, seed, number, points_of(len(plan.copy.sources)))
    return Setup(plan, point, action)


@st.composite
def limits(draw: st.DrawFn) -> CopyLimits:
    """Limits of a Copy command, the tightest and odd ones included."""
    mssrl = draw(st.integers(1, 300))
    return CopyLimits(
        mssrl=mssrl, mcl=draw(st.integers(mssrl, 5000)), msrc=draw(st.integers(1, 256))
    )


def overlap(one: Extent, other: Extent) -> bool:
    """Whether two extents share a sector."""
    return one.start < other.end and other.start < one.end


@given(
    limits(),
    st.sampled_from([512, 4096]),
    st.integers(2**20, 2**24),
    st.integers(1, 20),
    st.integers(1, 400),
    st.integers(),
    st.integers(1, 1000),
)
def test_every_case_is_a_legal_copy_that_the_device_takes(
    allowed: CopyLimits, block: int, size: int, ranges: int, blocks: int, seed: int, number: int
) -> None:
    on = nvme_path(size // block * block, block, allowed)
    try:
        where = drawn_from("--ranges", str(ranges), "--blocks", str(blocks), on=on)
    except UsageError as error:
        assert "too small" in error.message
        assume(False)
    setup = case(where, seed, number)
    copy, window = setup.layout.copy, setup.layout.window
    check_limits(copy, allowed)
    assert 1 <= len(copy.sources) <= ranges
    assert max(source.sectors for source in copy.sources) <= blocks * copy.unit
    assert not any(overlap(source, copy.target) for source in copy.sources)
    for part in (*copy.sources, copy.target, window):
        assert part.start % copy.unit == part.sectors % copy.unit == 0
        assert window.start <= part.start < part.end <= window.end
    assert window.start >= FIRST
    assert window.end <= on.size // SECTOR
    # Sectors that must not change lie before it all, and behind unless the namespace ends.
    first = min(part.start for part in (*copy.sources, copy.target))
    last = max(part.end for part in (*copy.sources, copy.target))
    assert first - window.start >= GUARD
    assert window.end - last == GUARD or window.end == on.size // SECTOR
    assert (setup.point, setup.action) in where.selection.on(on, points_of(len(copy.sources)))


@given(st.integers(), st.integers(1, 10**6))
def test_the_same_seed_and_number_draw_the_same_case(seed: int, number: int) -> None:
    where = drawn_from()
    assert case(where, seed, number) == case(where, seed, number)


def test_cases_and_seeds_differ() -> None:
    where = drawn_from()
    assert len({case(where, seed, number) for seed in range(8) for number in range(8)}) == 64


def test_no_copy_is_drawn_for_a_size_that_is_nobodys() -> None:
    """Copies at a limit are made behind those that are drawn, each called by the limit."""
    where = drawn_from("--actions", "resume,rehearsal,size")
    struck = {str(case(where, 7, number).action) for number in range(1, 100)}
    assert struck == {"resume", "rehearsal"}


def test_sizes_alone_cannot_be_drawn() -> None:
    with pytest.raises(UsageError, match="size") as raised:
        drawn_from("--actions", "size")
    assert raised.value.hint
    assert "rehearsal" in raised.value.hint


GOLDEN = (
    "written:2 resume",
    ["523311+256", "524275+13", "524264+6", "524182+82", "523311+256"],
    "523568+613",
)


def test_a_case_does_not_change_unnoticed_between_versions() -> None:
    """A seed that somebody has noted must go on meaning the same."""
    setup = case(drawn_from("--actions", "resume,eio"), 7, 2)
    copy = setup.layout.copy
    assert (setup.name, [str(source) for source in copy.sources], str(copy.target)) == GOLDEN


SAMPLE = [case(drawn_from(), 1, number) for number in range(1, 401)]

SHAPES: dict[str, Callable[[Copy], bool]] = {
    "one range": lambda s: len(s.sources) == 1,
    "as many ranges as allowed": lambda s: len(s.sources) == 8,
    "a range of one block": lambda s: any(x.sectors == 1 for x in s.sources),
    "a range of MSSRL blocks": lambda s: any(x.sectors == 256 for x in s.sources),
    "sources that touch": lambda s: any(a.end == b.start for a, b in pairwise(s.sources)),
    "sources that overlap": lambda s: any(overlap(a, b) and a != b for a, b in pairwise(s.sources)),
    "the same source twice": lambda s: len(set(s.sources)) < len(s.sources),
    "sources out of order": lambda s: any(a.start > b.start for a, b in pairwise(s.sources)),
    "all unaligned": lambda s: all(x.start % GRID for x in (*s.sources, s.target)),
    "all aligned": lambda s: not any(x.start % GRID for x in (*s.sources, s.target)),
    "destination first": lambda s: s.destination < min(x.start for x in s.sources),
    "destination last": lambda s: s.destination > max(x.start for x in s.sources),
    "destination in between": lambda s: (
        min(x.start for x in s.sources) < s.destination < max(x.start for x in s.sources)
    ),
    "destination right behind a source": lambda s: any(x.end == s.destination for x in s.sources),
    "destination right before a source": lambda s: any(x.start == s.target.end for x in s.sources),
    "destination up to the last block": lambda s: s.target.end == 2**28 // SECTOR,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_comes_up_more_than_once(shape: str) -> None:
    assert sum(SHAPES[shape](setup.layout.copy) for setup in SAMPLE) > 2


def test_every_action_comes_up_about_equally_often() -> None:
    for action in swept():
        found = sum(setup.action == action for setup in SAMPLE)
        assert found > len(SAMPLE) / len(swept()) / 2, action


def test_points_and_actions_are_drawn_from_those_named() -> None:
    where = drawn_from("--points", "write:3,flushed", "--actions", "eio,kill")
    found = {case(where, 1, number).name for number in range(200)}
    assert found == {"write:3 eio", "write:3 kill", "flushed kill"}


def test_a_named_point_comes_with_a_copy_that_has_it() -> None:
    where = drawn_from("--points", "write:7", "--actions", "eio")
    counts = {len(draw(where, 1, number).copy.sources) for number in range(60)}
    assert counts == {7, 8}


def test_a_point_beyond_the_ranges_of_the_device_is_refused() -> None:
    few = CopyLimits(mssrl=8, mcl=8, msrc=2)
    with pytest.raises(UsageError, match="copy of 2 ranges") as caught:
        drawn_from("--points", "write:3", limits=few)
    assert "msrc" in caught.value.hint
    assert drawn_from("--points", "write:2,write:3", limits=few).ranges == 2


def test_a_namespace_without_room_is_refused() -> None:
    with pytest.raises(UsageError, match="too small to draw"):
        drawn_from(on=nvme_path(2**20 + 2**15))


def test_a_planted_defect_always_has_a_neighbour_to_hit() -> None:
    where = drawn_from("--plant", "touch-neighbour")
    for number in range(100):
        layout = draw(where, 1, number)
        assert layout.copy.target.end < layout.window.end


@given(st.integers(), st.integers(1, 1000))
def test_a_setup_survives_its_document(seed: int, number: int) -> None:
    setup = case(drawn_from(), seed, number)
    assert Setup.read(setup.document()) == setup
    assert Setup.read({**setup.document(), "verdict": "holds"}) == setup


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=6),
    st.sampled_from([1, 8]),
    st.integers(1, 8),
    st.integers(),
    st.integers(1, 10**6),
)
def test_a_write_is_cut_somewhere_inside_its_range(
    blocks: list[int], unit: int, k: int, seed: int, number: int
) -> None:
    sources = tuple(Extent(4096 + 512 * at, many * unit) for at, many in enumerate(blocks))
    plan = Layout(Copy(sources, 2**20, unit), Extent(0, 2**21))
    left = cut(plan, Point(Stage.WRITE, k), seed, number)
    assert left == cut(plan, Point(Stage.WRITE, k), seed, number)
    if k > len(blocks) or blocks[k - 1] == 1:
        assert left == 0
    else:
        assert 1 <= left < blocks[k - 1]


def test_a_copy_that_ended_is_cut_nowhere_and_every_cut_comes_up() -> None:
    plan = Layout(Copy((Extent(64, 4),), 128), Extent(0, 256))
    assert cut(plan, Point(Stage.COMPLETED), 1, 1) == 0
    assert {cut(plan, Point(Stage.WRITE, 1), 1, number) for number in range(40)} == {1, 2, 3}


def zns_path(zone_size: int, capacity: int, block_size: int) -> ZnsCopy:
    """The path zns-copy on a namespace of eight zones."""
    namespace = NvmeNamespace.model_validate(
        {
            "nsid": 1, "size": 8 * zone_size, "block_size": block_size, "copy": LIMITS,
            "zoned": {"zone_size": zone_size, "zone_capacity": capacity},
        }
    )  # fmt: skip
    return ZnsCopy(Drive("d0n1", "S", 1, 8 * zone_size, block_size), namespace)


@given(
    st.sampled_from([512, 4096]),
    st.sampled_from([2**21, 3 * 2**20, 2**22]),
    st.integers(1, 12),
    st.integers(1, 300),
    st.integers(),
    st.integers(1, 10**6),
)
def test_in_a_zone_the_destination_comes_last_and_all_fits(
    block: int, capacity: int, ranges: int, blocks: int, seed: int, number: int
) -> None:
    path = zns_path(2**22, capacity, block)
    try:
        where = space(
            parse(["--cases", "1", "--ranges", str(ranges), "--blocks", str(blocks)]), path
        )
    except UsageError as error:
        assert "too small" in error.message
        assume(False)
    plan = draw(where, seed, number)
    copy, window = plan.copy, plan.window
    zone = 2**22 // SECTOR
    # All before the destination is written, from the first sector of the zone on.
    assert window.start == zone
    assert copy.destination >= max(source.end for source in copy.sources)
    assert copy.target.end + GUARD == window.end <= zone + capacity // SECTOR
    for part in (*copy.sources, copy.target):
        assert part.start - GUARD >= zone
        assert part.start % copy.unit == part.sectors % copy.unit == 0
    check_limits(copy, path.limits)


def test_in_a_zone_sources_still_come_in_all_relations_and_orders() -> None:
    where = space(parse(["--cases", "1"]), zns_path(2**24, 2**24, 512))
    copies = [draw(where, 1, number).copy for number in range(300)]
    for shape in ("sources that touch", "sources that overlap", "the same source twice",
                  "sources out of order", "destination right behind a source"):  # fmt: skip
        assert sum(SHAPES[shape](copy) for copy in copies) > 2, shape
