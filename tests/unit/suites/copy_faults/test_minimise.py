# SPDX-License-Identifier: GPL-2.0-or-later
"""A failing case becomes a small one that still fails."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.faults.model import Point, Stage, points_of
from lab.suites.copy_faults.acts.registry import action_called, actions
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.generate import draw, space, strike
from lab.suites.copy_faults.minimise import minimise, smaller
from lab.suites.copy_faults.options import parse
from lab.suites.copy_faults.selection import Cell, Selection
from tests.unit.builders import nvme_path


@st.composite
def setups(draw_from: st.DrawFn) -> Setup:
    """Cases as they are generated."""
    block = draw_from(st.sampled_from([512, 4096]))
    where = space(parse(["--cases", "1"]), nvme_path(2**26, block))
    seed = draw_from(st.integers())
    plan = draw(where, seed, 1)
    return Setup(plan, *strike(where, seed, 1, points_of(len(plan.copy.sources))))


def possible(ranges: int) -> list[Cell]:
    """All that can be done to a copy of so many ranges."""
    return Selection(actions()).on(nvme_path(), points_of(ranges))


def blocks(setup: Setup) -> int:
    """Blocks that the case copies."""
    return setup.layout.copy.target.sectors // setup.layout.copy.unit


@given(setups())
def test_every_candidate_is_smaller_and_a_possible_case(setup: Setup) -> None:
    copy = setup.layout.copy
    for candidate in smaller(setup):
        less = candidate.layout.copy
        assert blocks(candidate) < blocks(setup)
        assert less.sources
        assert (candidate.point, candidate.action) in possible(len(less.sources))
        assert candidate.point.stage is setup.point.stage
        assert candidate.layout.window == setup.layout.window
        assert less.destination == copy.destination
        assert all(part.sectors % less.unit == 0 for part in less.sources)
        assert all(
            any(old.start == part.start and old.end >= part.end for old in copy.sources)
            for part in less.sources
        )


@given(setups())
def test_what_always_fails_ends_as_a_block_in_as_few_ranges_as_the_action_takes(
    setup: Setup,
) -> None:
    least = minimise(setup, lambda candidate: True)
    ranges = len(least.layout.copy.sources)
    assert blocks(least) == ranges
    assert not any(
        setup.action == action and point.stage is setup.point.stage
        for point, action in possible(ranges - 1)
        if ranges > 1
    )
    assert least.action == setup.action


@given(setups())
def test_what_fails_only_as_it_is_stays_as_it_is(setup: Setup) -> None:
    assert minimise(setup, lambda candidate: False) == setup


@given(setups())
def test_tries_are_bounded(setup: Setup) -> None:
    tried: list[Setup] = []

    def fails(candidate: Setup) -> bool:
        tried.append(candidate)
        return len(tried) % 2 == 0

    minimise(setup, fails, tries=5)
    assert len(tried) <= 5


def case(point: Point, *lengths: int) -> Setup:
    """A case with sources of these lengths."""
    setup = Setup(nvme_path(2**26).layout(1, 8), Point(Stage.READ, 1), action_called("resume"))
    layout = setup.layout
    source = layout.copy.sources[0]
    sources = tuple(replace(source, sectors=length) for length in lengths)
    layout = replace(layout, copy=replace(layout.copy, sources=sources))
    return Setup(layout, point, action_called("eio"))


@pytest.mark.parametrize(
    ("fails", "left"),
    [
        # A defect that takes two ranges, one that takes long ones, one that only strikes first.
        (lambda s: len(s.layout.copy.sources) >= 2, [1, 1]),
        (lambda s: blocks(s) >= 8, [8]),
        (lambda s: s.point.k >= 2, [1, 1]),
        (lambda s: any(x.sectors > 15 for x in s.layout.copy.sources), [16]),
    ],
)
def test_what_the_failure_needs_is_kept(fails: Callable[[Setup], bool], left: list[int]) -> None:
    least = minimise(case(Point(Stage.WRITE, 3), 64, 10, 40, 64), fails)
    assert fails(least)
    assert [source.sectors for source in least.layout.copy.sources] == left


def test_the_fault_stays_with_the_range_it_struck() -> None:
    struck = 7
    setup = case(Point(Stage.WRITE, 3), 1, 1, struck, 1)
    for candidate in smaller(setup):
        sources = candidate.layout.copy.sources
        if struck in [source.sectors for source in sources]:
            assert sources[candidate.point.k - 1].sectors == struck
