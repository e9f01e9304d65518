"""The fault that an action at a point of a copy asks of the fault layer, or of a rate limit."""

import math

from lab.copy.model import SECTOR, Copy
from lab.faults import choice
from lab.faults.actions import Action
from lab.faults.model import Point, Stage
from lab.faults.stepper import ARMING_EVENT, Fault, counting
from lab.vm.graph import Rule

MAX_FRAGMENT = 4096
"""Bytes, or a block where that is larger; smaller ones only where a write must end on a smaller
boundary."""


def fault(
    action: Action, point: Point, copy: Copy, cut: int = 0, *, flushes: bool = False
) -> Fault:
    """The fault for an action at a point of a copy.

    `flushes`: the guest itself flushes during the copy, as file systems do.  The flush that arms
    an error would then not be the lab's alone, so one is chosen that nobody arms by chance (see
    lab/faults/choice.py).

    A torn write ends `cut` blocks into its range (0, or more than there are: in its middle), on a
    boundary of the atomic unit: requests are cut into fragments, and the one that begins there
    fails.
    """
    if action.undisturbed:
        return Fault(held=False)
    if not action.errno:
        return Fault(nth=point.k)
    iotype = "read" if point.stage is Stage.READ else "write"
    if action is Action.EIO_UNHELD:
        return Fault(nth=point.k, more=counting(point), held=False)
    if flushes and action is not Action.TORN:
        arming = tuple(choice.commands(iotype, action.errno))
        return Fault(nth=point.k, more=choice.options(), arming=arming)
    if action is not Action.TORN:
        return Fault((Rule(ARMING_EVENT, iotype, action.errno),), nth=point.k)
    parts = [target for _, target in copy.pieces()]
    part = parts[point.k - 1]
    before = (cut or part.sectors // copy.unit // 2) * copy.unit
    if not before < part.sectors:
        before = part.sectors // copy.unit // 2 * copy.unit
    # Below is the write log, which takes whole blocks only.
    fragment = math.gcd(before * SECTOR, max(MAX_FRAGMENT, copy.unit * SECTOR))
    earlier = sum(-(-other.sectors * SECTOR // fragment) for other in parts[: point.k - 1])
    rule = Rule(ARMING_EVENT, iotype, action.errno, sector=part.start + before)
    return Fault((rule,), fragment, earlier + 1)


def rate_for(copy: Copy, k: int, seconds: float) -> int:
    """The limit, in bytes a second, under which the k-th write waits about that long."""
    return max(1, int(copy.sources[k - 1].sectors * SECTOR / seconds))
