# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies at, and above, the limits of a device: their shapes, and what they lead to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.contract import Ruling, judge, overall
from lab.copy.model import Completion, Copy, Extent
from lab.copy.paths import REFERENCE, find
from lab.copy.sizes import MAX_BLOCKS, MAX_RANGES, Shape, exceeded, shapes, sizes
from lab.faults.actions import SIZE
from lab.faults.model import REHEARSED
from lab.profile.layers.copyref import DriverLimits
from lab.profile.load import load
from lab.profile.models import CopyLimits
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.cell import Setup
from tests.unit.builders import COPY, facts, findings


def copy_of(shape: Shape) -> Copy:
    """A copy of that shape, in blocks of a sector."""
    sources = tuple(
        Extent(number * shape.blocks, shape.blocks) for number in range(shape.ranges)
    )  # fmt: skip
    return Copy(sources, shape.ranges * shape.blocks)


@st.composite
def some_limits(draw: st.DrawFn) -> CopyLimits:
    mssrl = draw(st.integers(1, 200) | st.just(MAX_BLOCKS - 1))
    mcl = draw(st.just(mssrl) | st.integers(1, 100_000))
    return DriverLimits(mssrl=mssrl, mcl=mcl, msrc=draw(st.integers(1, MAX_RANGES)))


@given(some_limits())
def test_a_shape_is_what_it_is_called(limits: CopyLimits) -> None:
    for shape in shapes(limits):
        side, name = shape.name.split()
        copy = copy_of(shape)
        (size,) = (size for size in sizes(copy, limits) if size.name == name)
        over = {each.name for each in exceeded(copy, limits)}
        if side == "at":
            assert size.value == size.limit
            assert not over
        else:
            assert name in over
            # Just above: with a block, or a range, less in each there would be nothing to refuse.
            assert size.value - size.limit <= (shape.ranges if name == "mcl" else 1)
        assert shape.ranges <= MAX_RANGES
        assert shape.blocks <= MAX_BLOCKS


def test_both_sides_of_each_limit_are_tried_on_the_profile_that_ships() -> None:
    path = find(load("nvme-copy", []), "nvme-copy")
    assert [name for name, _ in path.sizes()] == [
        "at mssrl", "above mssrl", "at mcl", "above mcl", "at msrc", "above msrc",
    ]  # fmt: skip


def test_where_no_device_sets_a_limit_there_is_no_size_to_try() -> None:
    assert not list(find(load("loop-xfs-reflink", []), REFERENCE).sizes())


def test_a_size_is_no_fault() -> None:
    assert SIZE not in registry.named("all")
    assert SIZE.possible_at(REHEARSED)


def test_a_setup_keeps_what_its_copy_is_called() -> None:
    name, plan = next(find(load("nvme-copy", []), "nvme-copy").sizes())
    setup = Setup(plan, REHEARSED, SIZE, "nvme-copy", "LABNVME0:1", size=name)
    assert setup.name == "at mssrl"
    assert Setup.read(setup.document()) == setup
    older = setup.document()
    del older["size"]
    assert Setup.read(older).size == ""


REFUSED = Completion(0x183, 0, 0.01, "EIO")
DONE = Completion(0, 0, 0.01)
OLD = findings({})


@pytest.mark.parametrize(
    ("excess", "completion", "expected"),
    [
        (False, DONE, Ruling.HOLDS),
        (False, REFUSED, Ruling.VIOLATED),
        (True, REFUSED, Ruling.HOLDS),
        (True, DONE, Ruling.VIOLATED),
        (True, None, Ruling.NOT_APPLICABLE),
    ],
)
def test_limits_asks_for_success_up_to_them_and_for_a_refusal_above(
    excess: bool, completion: Completion | None, expected: Ruling
) -> None:
    seen = facts(completion=completion, size="9 blocks in a range (mssrl 8)", excess=excess)
    found = judge(seen)["LIMITS"]
    assert found.verdict is expected
    assert "9 blocks in a range (mssrl 8)" in found.evidence


def test_a_refusal_above_a_limit_violates_nothing() -> None:
    seen = facts(completion=REFUSED, findings=OLD, size="9 blocks", excess=True)
    assert overall(seen, judge(seen)) == "holds"


def test_a_refusal_that_reports_ranges_it_did_not_copy_is_caught() -> None:
    told = Completion(0x183, 1, 0.01, "EIO")
    seen = facts(completion=told, findings=OLD, size="9 blocks", excess=True)
    assert judge(seen)["PREFIX"].verdict is Ruling.VIOLATED


def test_the_status_of_a_refusal_is_the_one_that_the_specification_names() -> None:
    path = find(load("nvme-copy", []), "nvme-copy")
    assert path.refuses_wrongly(REFUSED) == ""
    wrong = path.refuses_wrongly(Completion(0x006, 0, 0.01, "EIO"))
    assert "0x6" in wrong
    assert "0x183, Command Size Limit Exceeded" in wrong
    assert find(load("loop-xfs-reflink", []), REFERENCE).refuses_wrongly(REFUSED) == ""


def test_a_copy_is_measured_by_each_limit() -> None:
    by_limits = sizes(COPY, CopyLimits(msrc=3, mssrl=4, mcl=11))
    assert [str(size) for size in by_limits] == [
        "3 source ranges (msrc 3)", "4 blocks in a range (mssrl 4)", "12 blocks in all (mcl 11)",
    ]  # fmt: skip
