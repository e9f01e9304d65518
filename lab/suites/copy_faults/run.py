# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite copy-faults: copies, interrupted at every point by every action."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from lab.copy.model import Layout
from lab.copy.paths import find
from lab.copy.paths.base import CopyPath
from lab.copy.paths.nvme import check_limits
from lab.copy.plant import Plant
from lab.faults.actions import CONCURRENT, REHEARSAL, SIZE
from lab.faults.model import REHEARSED, Point
from lab.guest.boot import Platform
from lab.guest.guest import Guest
from lab.profile.models import Profile
from lab.results.coverage import Circumstance
from lab.suites.copy_faults import absent, behind, rehearsal
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.acts.ability import able
from lab.suites.copy_faults.behind import Setups
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.case import BenchCase, CaseResult
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import (
    DeviceFailure,
    GroundLost,
    NothingToStrike,
    NotSupported,
)
from lab.suites.copy_faults.generate import cut, draw, space, strike
from lab.suites.copy_faults.minimise import minimise
from lab.suites.copy_faults.options import CopyFaultsOptions
from lab.suites.copy_faults.report import JudgedCase, Report, broken_rules
from lab.suites.copy_faults.selection import Cell
from lab.suites.guest import RunGuest, attached
from lab.suites.record import recorded
from lab.suites.request import Assignment
from lab.suites.watch import Watcher

NAME = "copy-faults"

_UP = "name that profile, and --set what was set when it was started"


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


def run(asked: Assignment[CopyFaultsOptions], watcher: Watcher[CaseResult]) -> Report:
    """Run the suite in a guest of its own, or in one that is up; see as_sweep() and carry_out()."""
    on = attached(asked.request.on, asked.profile, NAME, _UP) if asked.request.on else None
    return carry_out(as_sweep(asked.profile, asked.options), watcher, on=on)


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
        found = _strikable(bench, path, options, rehearsal.points(bench, plan, options.plant))
        possible = able(bench, (action for _, action in found))
        found = [cell for cell in found if cell[1] in possible]
        expect(1 + len(found))
        for number, (point, action) in enumerate(found, 1):
            yield number, replace(first, point=point, action=action, cut=options.torn_at)

    return first, setups


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
            found = rehearsal.points(bench, plan, options.plant)
            try:
                point, action = strike(where, drawn.seed, number, found)
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


def carry_out(sweep: Sweep, watcher: Watcher[CaseResult], *, on: Guest | None = None) -> Report:
    """Boot, carry out the cases and judge them.

    What the lab itself fails at ends the run and stands in the report, with all cases judged
    until then; only errors from before the first boot are raised (ProfileError, HostError).
    """
    profile = sweep.profile
    platform = Platform.find(profile, watcher.progress)
    with recorded(
        Report, sweep.suite, profile, platform, sweep.asked, plant=sweep.plant, path=sweep.path
    ) as (record, report):
        try:
            with (
                RunGuest(record, profile, platform, watcher.progress, on=on) as own,
                closing(Bench(own, sweep.path)) as bench,
            ):
                own.describe(report)
                try:
                    _judge_all(sweep, bench, report, watcher)
                except DeviceFailure as failure:
                    # In a copy without a fault whose points were counted.
                    _add(report, watcher, sweep.first, absent.lost(sweep.first, str(failure), 0.0))
                finally:
                    report.lacking = {str(act): said for act, said in bench.lacking.items()}
        except DeviceFailure as failure:
            _add(report, watcher, sweep.first, absent.judged(sweep.first, str(failure), 0.0))
        except NotSupported as why:
            report.not_supported = str(why)
    return report


def _add(report: Report, watcher: Watcher[CaseResult], setup: Setup, result: CaseResult) -> None:
    """Add a case that nobody had set up, and by which the run ends."""
    number = 1 + max((each.number for each in report.cases), default=-1)
    report.cases.append(JudgedCase(number, setup, result))
    watcher.on_case(result)


def _judge_all(sweep: Sweep, bench: Bench, report: Report, watcher: Watcher[CaseResult]) -> None:
    """Carry out and judge one case after the other.  Raises NotSupported where the path does not
    work without a fault."""
    known: set[tuple[object, ...]] = set()
    without_fault: set[str] = set()
    for number, setup in sweep.setups(bench, watcher.on_total):
        watcher.on_begin(setup.name)
        judged = JudgedCase(number, setup, _judge(sweep, bench, number, setup))
        rehearsed = sweep.is_rehearsal(number, setup)
        bench.struck = judged.result.facts.reached or bool(judged.result.facts.crash)
        if sweep.is_past_the_last(setup, judged.result, without_fault):
            continue
        if setup.action == REHEARSAL:
            without_fault.update(broken_rules(judged.result))
        if not rehearsed or rehearsal.is_case(judged.result, first=not number):
            report.cases.append(judged)
            watcher.on_case(judged.result)
        if bench.gone or (rehearsed and not rehearsal.goes_on(judged.result, sweep.path.limits)):
            return
        bench.broken = bench.broken or judged.result.verdict == "violated"
        broken = broken_rules(judged.result)
        kind = (setup.action, setup.point.stage, *broken)
        if sweep.minimised and judged.result.verdict == "violated" and kind not in known:
            known.add(kind)
            judged.minimised = _minimised(sweep, bench, judged)


def _judge(sweep: Sweep, bench: Bench, number: int, setup: Setup) -> CaseResult:
    # Should the lab break off in this case, the timeline still says what it was.
    bench.run.emit("lab", "setup", number=number, **setup.document())
    bench.case = str(number)
    harmed = registry.find(setup.action.name).harms
    bench.works_for(Circumstance.FAULT if harmed else Circumstance.PLAIN)
    start = time.monotonic()
    try:
        result = BenchCase(bench, setup, sweep.plant, sweep.hang_deadline).run()
    except DeviceFailure as failure:
        # It may not even boot again on what the case had left; on fresh media it may.
        told = absent.lost if isinstance(failure, GroundLost) else absent.judged
        result = told(setup, str(failure), time.monotonic() - start)
        bench.renew_if_possible()
    bench.works_for(Circumstance.OUTSIDE)
    return result


def _minimised(sweep: Sweep, bench: Bench, judged: JudgedCase) -> JudgedCase:
    """The smallest case found that breaks the same rules, which may be the case itself."""
    broken = set(broken_rules(judged.result))
    smallest = judged.result

    def fails(setup: Setup) -> bool:
        nonlocal smallest
        if bench.gone:
            return False
        result = _judge(sweep, bench, judged.number, setup)
        if not broken <= set(broken_rules(result)):
            return False
        smallest = result
        return True

    return JudgedCase(judged.number, minimise(judged.setup, fails), smallest)
