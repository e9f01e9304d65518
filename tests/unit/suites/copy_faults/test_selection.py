# SPDX-License-Identifier: GPL-2.0-or-later
"""Actions and points that were asked for, combined on a path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.paths import find
from lab.faults.actions import Action
from lab.faults.model import Point, Stage, points_of
from lab.profile.load import load
from lab.suites.copy_faults.acts.registry import actions, named
from lab.suites.copy_faults.selection import Selection
from tests.unit.builders import nvme_path

POINTS = st.sampled_from(points_of(4))
PATH = nvme_path()


def test_what_costs_a_boot_comes_last() -> None:
    asked = Selection(named("kill,unplug,eio,resume"))
    found = asked.on(PATH, [Point(Stage.READ, 1), Point(Stage.COMPLETED)])
    assert [f"{point} {action}" for point, action in found] == [
        "read:1 eio", "read:1 resume", "read:1 kill", "completed kill", "read:1 unplug",
    ]  # fmt: skip


@given(
    st.lists(POINTS, unique=True, max_size=8),
    st.sets(st.sampled_from(actions())),
    st.lists(POINTS, unique=True, max_size=3),
)
def test_all_possible_combinations_come_once(
    points: list[Point], acts: set[Action], wanted: list[Point]
) -> None:
    found = Selection(tuple(acts), tuple(wanted)).on(PATH, points)
    assert len(found) == len(set(found))
    assert set(found) == {
        (point, action)
        for point in points
        for action in acts
        if action.possible_at(point) and PATH.possible(action) and (not wanted or point in wanted)
    }
    for action in acts:
        of_action = [point for point, other in found if other == action]
        assert of_action == [point for point in points if point in of_action]


@pytest.mark.parametrize(("profile", "path"), [("zns", ""), ("loop-xfs-reflink", "loop-reflink")])
def test_what_means_nothing_on_a_path_does_not_come_to_pass(profile: str, path: str) -> None:
    plan = find(load(profile, []), path)
    asked = Selection(actions())
    found = {action for _, action in asked.on(plan, points_of(2))}
    assert found <= set(asked.possible(plan)) < set(actions())
