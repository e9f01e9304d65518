"""A copy without any fault, before those with one: does the path work, and what are its points?"""

from lab.copy.model import Layout
from lab.errors import GuestError
from lab.faults.model import Point, Stage
from lab.faults.stepper import Fault, NotReached, Stepper
from lab.suites.bench import Bench

_DEADLINE = 60.0
"""Seconds for a copy that nothing holds."""


class NotSupported(Exception):
    """The path does not work on this kernel or device, even without a fault: what was said."""


def points(bench: Bench, layout: Layout) -> list[Point]:
    """Every point of a copy, in the order of their numbers.

    Raises NotSupported when the copy fails, GuestError when it does not end.
    """
    bench.set_fault(Fault())
    known = bench.path.points(len(layout.copy.sources))
    if known:
        _rehearse(bench, layout, None)
        return known
    reads, writes = (_rehearse(bench, layout, stage) for stage in (Stage.READ, Stage.WRITE))
    found = [Point(Stage.READ, k) for k in range(1, reads + 1)]
    for k in range(1, writes + 1):
        found += [Point(Stage.WRITE, k), Point(Stage.WRITTEN, k)]
    last = [Point(Stage.COMPLETED)]
    if not bench.path.durable:
        last.append(Point(Stage.FLUSHED))
    return found + last


def _rehearse(bench: Bench, layout: Layout, stage: Stage | None) -> int:
    """A copy that is held at each of its reads, or writes, or nowhere; how often it was held.

    What a file system sends together is held once: while the first waits, the others go by.
    """
    bench.tag(layout)
    bench.taps.forget()
    bench.run.emit("lab", "rehearsal", stage=stage)
    stepper = Stepper(bench.guest.machine, bench.drive, bench.executor.has_answer)
    if stage:
        stepper.arm(Point(stage, 1))
    bench.start(bench.path.request(layout.copy))
    held = _step_through(stepper, stage) if stage else 0
    completion = bench.completed(_DEADLINE)
    if completion is None:
        raise GuestError(
            f"path {bench.path.name}: a copy without a fault did not end in {_DEADLINE:.0f} s"
        )
    if not completion.succeeded:
        lines = [f"kernel: {line}" for line in bench.taps.kernel_messages()]
        if bench.path.limits.none:
            lines.append("the profile asks for a namespace that no Copy fits: copy: none")
        raise NotSupported("\n".join([completion.said or str(completion), *lines]))
    return held


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
