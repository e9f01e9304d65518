# SPDX-License-Identifier: GPL-2.0-or-later
"""Which copies a run of copy-faults makes, and what it does to each: a sweep."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab.copy.model import Layout
from lab.copy.paths import find
from lab.copy.paths.base import CopyPath
from lab.copy.paths.nvme import check_limits
from lab.copy.plant import Plant
from lab.faults.actions import CONCURRENT, REHEARSAL, SIZE
from lab.faults.model import REHEARSED, Point
from lab.profile.models import Profile
from lab.suites.copy_faults import behind, rehearsal
from lab.suites.copy_faults.acts.ability import able
from lab.suites.copy_faults.behind import Setups
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import NothingToStrike
from lab.suites.copy_faults.generate import cut, draw, space, strike
from lab.suites.copy_faults.options import CopyFaultsOptions
from lab.suites.copy_faults.rehearsal import CopyPoints
from lab.suites.copy_faults.report import broken_rules
from lab.suites.copy_faults.selection import Cell, Selection

NAME = "copy-faults"


@dataclass(frozen=True)
class Sweep:
    """Cases to carry out on a path of a profile, one after the other.

    `asked`: what they come from, for the run's JSON.  `first`: what is told of where no guest
    comes up.  `setups` gives them one by one with their numbers, once the guest is up, and tells
    how many there will be as soon as it knows.
    `minimised`: the first failing case of each kind is to be made smaller.  `rehearses`: its
    copies without a fault say whether any with one are to follow, but for those that were asked
    for: cases that are `drawn`, of which this is the last number.
    """

    profile: Profile
    path: CopyPath
    suite: str
    asked: dict[str, Any]
    first: Setup
    setups: Setups
    plant: Plant
    hang_deadline: float
    minimised: bool = False
    rehearses: bool = True
    drawn: int = 0

    def is_rehearsal(self, number: int, setup: Setup) -> bool:
        """Whether a case is there for those that follow it."""
        asked_for = 0 < number <= self.drawn
        return self.rehearses and setup.action == REHEARSAL and not asked_for

    def is_past_the_last(self, setup: Setup, result: CaseResult, rehearsed: set[str]) -> bool:
        """Whether a case has only shown that a copy makes no such allocation any more: without a
        fault it broke no other rules than `rehearsed`, those that the rehearsal broke."""
        none = bool(setup.allocation) and not result.facts.reached and not result.facts.crash
        return self.rehearses and none and rehearsed.issuperset(broken_rules(result))


def as_sweep(profile: Profile, options: CopyFaultsOptions) -> Sweep:
    """What the options ask for on a profile.

    Raises ProfileError or UsageError when the profile has no such path, cannot hold the copies, or
    nothing of it is possible there.
    """
    path = find(profile, options.path, options.ref, fua=options.fua)
    options.possible(path)
    drawn = options.generated
    # Where no copy fits nothing can be drawn; the rehearsal of a sweep tells what the device says.
    first, setups = (
        _sweep(path, options) if path.limits.none or not drawn else _generated(path, options)
    )
    if SIZE in options.selection.actions:
        setups = behind.with_sizes(setups, path)
    beforehand = [action for action in options.possible(path) if action.beforehand]
    if beforehand and not path.limits.none:
        setups = behind.with_allocations(setups, first, beforehand, options.allocations)
    if CONCURRENT in options.possible(path) and not drawn and not path.limits.none:
        setups = behind.with_crowds(setups, path, first)
    return Sweep(
        profile, path, NAME, options.document(), first, setups, options.plant,
        options.hang_deadline, minimised=drawn is not None and drawn.minimise,
        drawn=drawn.cases if drawn else 0,
    )  # fmt: skip


def _sweep(path: CopyPath, options: CopyFaultsOptions) -> tuple[Setup, Setups]:
    """One regular copy: undisturbed, and then at every point."""
    ranges, blocks = (1, 1) if path.limits.none else (options.ranges, options.blocks)
    plan = path.layout(ranges, blocks)
    if not path.limits.none:
        check_limits(plan.copy, path.limits)
    if known := path.points(ranges):
        options.cells(path, known)
    first = _rehearsal(plan, path, options)

    def setups(bench: Bench, expect: Callable[[int], None]) -> Iterator[tuple[int, Setup]]:
        yield 0, first
        counted = rehearsal.points(bench, plan, options.plant)
        asked = replace(options, selection=_placed(bench, options.selection, counted))
        left = asked.selection.actions
        found = _strikable(bench, path, asked, counted.points) if left else []
        possible = able(bench, (action for _, action in found))
        found = [cell for cell in found if cell[1] in possible]
        expect(1 + len(found))
        for number, (point, action) in enumerate(found, 1):
            yield number, replace(first, point=point, action=action, cut=options.torn_at)

    return first, setups


def _placed(bench: Bench, selection: Selection, counted: CopyPoints) -> Selection:
    """What is asked for but for actions that need to know where a point lies, and nobody does."""
    if counted.by_range:
        return selection
    for action in selection.possible(bench.path):
        if action.on_medium:
            bench.lacking[action] = "where a copy is not read and written range by range"
    return selection.without_place()


def _strikable(
    bench: Bench, path: CopyPath, options: CopyFaultsOptions, points: Sequence[Point]
) -> list[Cell]:
    """What can be done at the points that a copy without a fault has shown.

    A copy that moves nothing has no points: where one broke a rule, faults are left out with what
    is lacking, and the run goes on.  Raises UsageError otherwise.
    """
    try:
        return options.cells(path, points)
    except NothingToStrike as nothing:
        _leave_out(bench, path, options, nothing)
        return []


def _leave_out(
    bench: Bench, path: CopyPath, options: CopyFaultsOptions, nothing: NothingToStrike
) -> None:
    if not bench.broken:
        raise nothing
    for action in options.possible(path):
        if action.at_a_point:
            bench.lacking[action] = nothing.message


def _generated(path: CopyPath, options: CopyFaultsOptions) -> tuple[Setup, Setups]:
    """Copies of all shapes, each interrupted once; before the first, and wherever only a rehearsal
    tells the points, the same undisturbed."""
    drawn = options.generated
    assert drawn
    whole = space(options, path)

    def setups(bench: Bench, expect: Callable[[int], None]) -> Iterator[tuple[int, Setup]]:
        told = path.points(1) is not None
        expect(1 + drawn.cases)
        where, undisturbed = whole, False
        for number in range(1, drawn.cases + 1):
            plan = draw(where, drawn.seed, number)
            setup = _rehearsal(plan, path, options)
            if number == 1 or not (told or undisturbed):
                # Behind the cases, which keep the numbers they are drawn by.
                yield (drawn.cases + number if number > 1 else 0), setup
                if bench.refused:
                    words = f"case {number}: its copy fails without a fault"
                    bench.run.emit("lab", "left out", text=words)
                    continue
            if number == 1:
                able_to = able(bench, whole.selection.possible(path))
                undisturbed = all(action.undisturbed for action in able_to)
                where = replace(whole, selection=replace(whole.selection, actions=able_to))
            if undisturbed:
                _, action = strike(where, drawn.seed, number, [REHEARSED])
                yield (
                    number,
                    behind.crowded(replace(setup, action=action), drawn.seed, number, path),
                )
                continue
            counted = rehearsal.points(bench, plan, options.plant)
            placed = replace(where, selection=_placed(bench, where.selection, counted))
            if not placed.selection.actions:
                continue
            try:
                point, action = strike(placed, drawn.seed, number, counted.points)
            except NothingToStrike as nothing:
                _leave_out(bench, path, options, nothing)
                continue
            torn = cut(plan, point, drawn.seed, number)
            struck = replace(setup, point=point, action=action, cut=torn)
            yield number, behind.crowded(struck, drawn.seed, number, path)

    return _rehearsal(draw(whole, drawn.seed, 1), path, options), setups


def _rehearsal(plan: Layout, path: CopyPath, options: CopyFaultsOptions) -> Setup:
    return Setup(
        plan, REHEARSED, REHEARSAL, path.name, path.ref, fua=options.fua,
        block_error=options.block_error,
    )  # fmt: skip
