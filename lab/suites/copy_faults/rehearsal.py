# SPDX-License-Identifier: GPL-2.0-or-later
"""A copy without any fault, before those with one: does the path work, and what are its points?

It is a case like any other, and judged whether or not it has a point at which it could be
interrupted; copies that are held tell how many points there are where the path cannot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.copy.model import SECTOR, Copy, Extent, Layout
from lab.copy.plant import Plant
from lab.crash.writelog import LogEntry
from lab.errors import KernelHang
from lab.faults.model import Point, Stage
from lab.faults.stepper import Fault, NotReached, Stepper
from lab.profile.models import CopyLimits
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.failures import NotSupported
from lab.suites.copy_faults.report import broken_rules

_DEADLINE = 60.0
"""Seconds for a copy that nothing holds."""


_DONE_HARM = {"PREFIX", "NO-FOREIGN", "SOURCE", "NEIGHBOUR", "NO-HANG"}
"""What not even a copy that fails may violate."""


def is_case(result: CaseResult, *, first: bool) -> bool:
    """Whether a copy without any fault is a case of its run: the first is, and each that found
    something, but none that a path which is not supported just refused."""
    told = result.told
    if first and told and not told.succeeded:
        return not _DONE_HARM.isdisjoint(broken_rules(result))
    return first or result.verdict != "holds"


def goes_on(result: CaseResult, limits: CopyLimits, *, first: bool) -> bool:
    """Whether copies with faults can follow one without; none can where that never ended.

    Raises NotSupported where the first failed for its caller: of a path that works, a copy that
    fails is a finding.
    """
    told = result.told
    if first and told and not told.succeeded:
        lines = [f"kernel: {line}" for line in result.messages]
        if limits.none:
            lines.append("the profile asks for a namespace that no Copy fits: copy: none")
        raise NotSupported("\n".join([told.said or str(told), *lines]))
    return told is not None


@dataclass(frozen=True)
class CopyPoints:
    """Every point of a copy that works, in the order of their numbers.

    `by_range`: its k-th read and write are those of its k-th range, and of all of that; elsewhere
    nobody knows where on the medium a point lies.
    """

    points: tuple[Point, ...]
    by_range: bool = True


def points(bench: Bench, layout: Layout, plant: Plant) -> CopyPoints:
    """The points of a copy, which is carried out for that where the path does not know them.

    Raises DeviceFailure when it does not end.
    """
    known = bench.path.points(len(layout.copy.sources))
    if known is not None:
        return CopyPoints(tuple(known))
    with bench.inquest.device_may_fail():
        bench.set_fault(Fault())
        reads, _ = _count(bench, layout, Stage.READ, plant)
        writes, wrote = _count(bench, layout, Stage.WRITE, plant)
    found = [Point(Stage.READ, k) for k in range(1, reads + 1)]
    for k in range(1, writes + 1):
        found += [Point(Stage.WRITE, k), Point(Stage.WRITTEN, k)]
    found.append(Point(Stage.COMPLETED))
    if not bench.path.durable:
        found.append(Point(Stage.FLUSHED))
    return CopyPoints(tuple(found), is_by_range(layout.copy, reads, writes, wrote))


def is_by_range(copy: Copy, reads: int, writes: int, wrote: Sequence[LogEntry]) -> bool:
    """Whether a copy that was held at so many reads and writes, and wrote this to its medium, read
    and wrote each range as a whole, one after the other."""
    ranges = [target for _, target in copy.pieces()]
    found = [Extent(each.offset // SECTOR, each.length // SECTOR) for each in wrote if each.length]
    return reads == writes == len(ranges) and found == ranges


def _count(
    bench: Bench, layout: Layout, stage: Stage, plant: Plant
) -> tuple[int, Sequence[LogEntry]]:
    """A copy that is held at each of its reads, or writes; how often it was held, and what it
    wrote.

    What a file system sends together is held once: while the first waits, the others go by.
    Raises KernelHang where it does not end.
    """
    bench.oracle.tag(layout)
    bench.taps.forget()
    bench.run.emit("lab", "count", stage=stage)
    stepper = bench.stepper(layout.copy)
    stepper.arm(Point(stage, 1))
    bench.start(plant.request(bench.path.request(layout.copy)))
    held = _step_through(stepper, stage)
    if bench.completed(_DEADLINE) is None:
        raise KernelHang(
            f"path {bench.path.name}: a copy without a fault did not end in {_DEADLINE:.0f} s"
        )
    bench.overhear(f"while its {stage}s were counted")
    return held, bench.taps.writes()


def _step_through(stepper: Stepper, stage: Stage) -> int:
    held = 0
    try:
        stepper.hold(Point(stage, 1), 1, _DEADLINE)
        while True:
            held += 1
            stepper.advance(Point(stage, held + 1), _DEADLINE)
    except NotReached:
        stepper.disarm()
    return held
