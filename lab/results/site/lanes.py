# SPDX-License-Identifier: GPL-2.0-or-later
"""The events of a case as swim lanes: who did what when, on one clock."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from lab.results.site.timeline import Event

HOST, QMP, TRACE, DEVICE, KERNEL, CALLER = (
    "host", "QMP", "QEMU trace", "device I/O", "guest kernel", "caller",
)  # fmt: skip
LANES = (HOST, QMP, TRACE, DEVICE, KERNEL, CALLER)
"""From the outside in."""

_OF = {
    "lab": HOST, "oracle": HOST, "crash": HOST, "stepper": QMP, "qmp": QMP, "trace": TRACE,
    "kernel": KERNEL, "guest": CALLER,
}  # fmt: skip

READS = ("copy_source_range", "read")
WRITES = ("copy_out", "write")
"""What QEMU's controller traces when it sends a request to the medium."""

_PAUSE = 0.25
"""A pause of more than this part of the whole is left out …"""

_LEAST = 0.5
"""… if it is longer than this, in seconds."""


class LaneEvent(NamedTuple):
    """Something that happened in a moment; `at` in seconds since the case's setup."""

    lane: str
    at: float
    event: str


class Bar(NamedTuple):
    """Something that took its time; `ended` is False where its end is not known."""

    start: float
    end: float
    ended: bool


@dataclass(frozen=True)
class Lanes:
    """The lanes of a case.

    `held`: from when to when a request was held; `copies`: from the request to its answer, as the
    caller saw it; `panels`: the stretches of time in which something happened, in order.
    """

    marks: tuple[LaneEvent, ...]
    copies: tuple[Bar, ...]
    held: tuple[Bar, ...]
    panels: tuple[tuple[float, float], ...]


def lanes(events: Sequence[Event]) -> Lanes:
    """The lanes of a case's events, which are those since its setup."""
    # What was traced before is of the case before: the trace is read late.
    found = sorted((each for each in events if each.at >= 0), key=lambda each: each.at)
    end = found[-1].at if found else 0.0
    marks = tuple(
        LaneEvent(_lane(each), each.at, each.event) for each in found if each.source in _OF
    )
    held = tuple(_bars(found, ("stepper", "held"), _lets_go, end))
    copies = tuple(_bars(found, ("guest", "copy"), _ends, end))
    return Lanes(marks, copies, held, tuple(_panels(marks, held)))


def _lane(event: Event) -> str:
    if event.source == "trace" and event.event in (*READS, *WRITES):
        return DEVICE
    return _OF[event.source]


def _lets_go(event: Event) -> bool:
    """Whether a request that is held is so no longer."""
    ended = (event.source, event.event) == ("guest", "completion")
    return ended or (event.source == "stepper" and event.event not in ("held", "inject"))


def _ends(event: Event) -> bool:
    """Whether a caller has its answer, or is gone with the guest."""
    ended = (event.source, event.event) == ("guest", "completion")
    return ended or (event.source == "stepper" and event.event not in _HELD)


_HELD = ("held", "inject", "release")


def _bars(
    events: Sequence[Event], begins: tuple[str, str], over: Callable[[Event], bool], last: float
) -> Iterator[Bar]:
    """From each event `begins` to the next that is its end."""
    start: float | None = None
    for each in events:
        if start is not None and over(each):
            yield Bar(start, each.at, each.source == "guest" or begins[0] == "stepper")
            start = None
        elif start is None and (each.source, each.event) == begins:
            start = each.at
    if start is not None:
        yield Bar(start, last, False)


def _panels(marks: Sequence[LaneEvent], held: Sequence[Bar]) -> Iterator[tuple[float, float]]:
    """All of the time but for long pauses, as that of a boot, in which only the kernel speaks; what
    is held is no pause."""
    times = [mark.at for mark in marks if mark.lane != KERNEL]
    if not times:
        return
    least = max(_LEAST, _PAUSE * (times[-1] - times[0]))
    pauses = [
        (before, after)
        for before, after in pairwise(times)
        if after - before > least
        and not any(bar.start < after and before < bar.end for bar in held)
    ]
    start = times[0]
    for before, after in pauses:
        yield start, before
        start = after
    yield start, times[-1]
