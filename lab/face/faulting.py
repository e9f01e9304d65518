# SPDX-License-Identifier: GPL-2.0-or-later
"""A copy in a guest, held while a program looks at it, and then struck by a fault and judged."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from lab.errors import GuestError, UsageError
from lab.face.outcome import RunOutcome

_LONGEST = 3600.0
"""Seconds; by then the guest's own timeout would strike."""


class FaultedCopy:
    """A copy at a point.  Its guest can be used meanwhile; what drains its device would hang it."""

    def __init__(self, point: str, action: str) -> None:
        self.point = point
        self.action = action
        self.ended: RunOutcome | None = None

    @property
    def outcome(self) -> RunOutcome:
        """What came of it, once the block has ended."""
        if self.ended is None:
            raise UsageError(
                f"the copy is held at {self.point}", hint="its outcome is there after the block"
            )
        return self.ended


@contextmanager
def faulted(
    run: Callable[..., RunOutcome], point: str, action: str, arguments: dict[str, Any]
) -> Iterator[FaultedCopy]:
    """Have a copy held at a point during the block, and the action happen to it behind that.

    `run` is lab.run() of copy-faults on a guest.  Raises what that raises, and GuestError when the
    copy does not come to the point.
    """
    there, go_on = threading.Event(), threading.Event()

    def on_event(source: str, event: str, _data: dict[str, Any]) -> None:
        if (source, event) == ("stepper", "held"):
            there.set()
            go_on.wait(_LONGEST)

    copy = FaultedCopy(point, action)
    with ThreadPoolExecutor(1, "lab-fault") as pool:
        running = pool.submit(run, points=[point], actions=[action], on_event=on_event, **arguments)
        try:
            _await(there, running, point)
            yield copy
        finally:
            go_on.set()
        copy.ended = running.result()


def _await(there: threading.Event, running: "Future[RunOutcome]", point: str) -> None:
    """Wait until the copy is held; the run has its own deadlines."""
    while not there.wait(0.02):
        if running.done() and not there.is_set():
            said = [f"{case.title}: {case.status} {case.reason}" for case in running.result().cases]
            raise GuestError(f"no copy was held at {point}", detail="\n".join(said))
