"""A copy without any fault, before those with one: does the path work, and what are its points?"""

from lab.copy.model import Layout
from lab.errors import GuestError
from lab.faults.model import Point, Stage
from lab.suites.bench import Bench

REHEARSALS = 2
"""Of paths whose points are counted: a point that came only once is none."""

_DEADLINE = 60.0
"""Seconds for a copy that nothing holds."""


class NotSupported(Exception):
    """The path does not work on this kernel or device, even without a fault: what was said."""


def points(bench: Bench, layout: Layout) -> list[Point]:
    """Every point of a copy, in the order of their numbers.

    Raises NotSupported when the copy fails, GuestError when it does not end.
    """
    known = bench.path.points(len(layout.copy.sources))
    counts = [_rehearse(bench, layout) for _ in range(1 if known else REHEARSALS)]
    if known:
        return known
    reads, writes = (min(each) for each in zip(*counts, strict=True))
    found = [Point(Stage.READ, k) for k in range(1, reads + 1)]
    for k in range(1, writes + 1):
        found += [Point(Stage.WRITE, k), Point(Stage.WRITTEN, k)]
    last = [Point(Stage.COMPLETED)]
    if not bench.path.durable:
        last.append(Point(Stage.FLUSHED))
    return found + last


def _rehearse(bench: Bench, layout: Layout) -> tuple[int, int]:
    """How many reads and writes of the disk at the bottom a copy takes."""
    bench.tag(layout)
    bench.forget()
    reads = bench.guest.machine.reads(bench.drive)
    bench.run.emit("lab", "rehearsal")
    bench.start(bench.path.request(layout.copy))
    completion = bench.completed(_DEADLINE)
    if completion is None:
        raise GuestError(
            f"path {bench.path.name}: a copy without a fault did not end in {_DEADLINE:.0f} s"
        )
    if not completion.succeeded:
        lines = [f"kernel: {line}" for line in bench.kernel_messages()]
        raise NotSupported("\n".join([completion.said or str(completion), *lines]))
    return bench.guest.machine.reads(bench.drive) - reads, bench.written()
