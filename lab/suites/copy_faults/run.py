# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite copy-faults: copies, interrupted at every point by every action."""

import time
from contextlib import closing

from lab.errors import GuestError
from lab.faults.actions import REHEARSAL
from lab.guest.boot import Platform
from lab.guest.guest import Guest
from lab.results.coverage import Circumstance
from lab.suites.copy_faults import absent, rehearsal
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.case import BenchCase, CaseResult
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import DeviceFailure, GroundLost, NotSupported
from lab.suites.copy_faults.minimise import minimise
from lab.suites.copy_faults.options import CopyFaultsOptions
from lab.suites.copy_faults.report import JudgedCase, Report, broken_rules
from lab.suites.copy_faults.sweep import NAME, Sweep, as_sweep
from lab.suites.guest import RunGuest, attached
from lab.suites.record import recorded
from lab.suites.request import Assignment
from lab.suites.watch import Watcher

_UP = "name that profile, and --set what was set when it was started"


def run(asked: Assignment[CopyFaultsOptions], watcher: Watcher[CaseResult]) -> Report:
    """Run the suite in a guest of its own, or in one that is up; see as_sweep() and carry_out()."""
    on = attached(asked.request.on, asked.profile, NAME, _UP) if asked.request.on else None
    return carry_out(as_sweep(asked.profile, asked.options), watcher, on=on)


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
        told = judged.result.told
        bench.refused = told is not None and not told.succeeded
        bench.struck = judged.result.facts.reached or bool(judged.result.facts.crash)
        if sweep.is_past_the_last(setup, judged.result, without_fault):
            continue
        if setup.action == REHEARSAL:
            without_fault.update(broken_rules(judged.result))
        if not rehearsed or rehearsal.is_case(judged.result, first=not number):
            report.cases.append(judged)
            watcher.on_case(judged.result)
        if bench.gone or (rehearsed and not _goes_on(sweep, judged)):
            return
        bench.broken = bench.broken or judged.result.verdict == "violated"
        broken = broken_rules(judged.result)
        kind = (setup.action, setup.point.stage, *broken)
        if sweep.minimised and judged.result.verdict == "violated" and kind not in known:
            known.add(kind)
            judged.minimised = _minimised(sweep, bench, judged)


def _goes_on(sweep: Sweep, judged: JudgedCase) -> bool:
    return rehearsal.goes_on(judged.result, sweep.path.limits, first=not judged.number)


def _judge(sweep: Sweep, bench: Bench, number: int, setup: Setup) -> CaseResult:
    # Should the lab break off in this case, the timeline still says what it was.
    bench.run.emit("lab", "setup", number=number, **setup.document())
    bench.case = str(number)
    harmed = registry.find(setup.action.name).harms
    bench.works_for(Circumstance.FAULT if harmed else Circumstance.PLAIN)
    start = time.monotonic()
    try:
        result = _carried_out(sweep, bench, setup)
    except DeviceFailure as failure:
        # It may not even boot again on what the case had left; on fresh media it may.
        told = absent.lost if isinstance(failure, GroundLost) else absent.judged
        said = "; ".join([str(failure), *bench.take_overheard()])
        result = told(setup, said, time.monotonic() - start)
        bench.renew_if_possible()
    bench.works_for(Circumstance.OUTSIDE)
    return result


def _carried_out(sweep: Sweep, bench: Bench, setup: Setup) -> CaseResult:
    """One case.  Raises DeviceFailure when the guest's kernel or QEMU fails where no copy runs."""
    bench.inquest.forget()
    try:
        return BenchCase(bench, setup, sweep.plant, sweep.hang_deadline).run()
    except GuestError as error:
        bench.inquest.hold(error)
        raise


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
