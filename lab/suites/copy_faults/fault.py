# SPDX-License-Identifier: GPL-2.0-or-later
"""What an action at a point of a copy asks of the fault layer, or of a rate limit."""

import math
from dataclasses import dataclass

from lab.copy.model import SECTOR, Copy
from lab.faults import choice
from lab.faults.model import Point, Stage
from lab.faults.stepper import ARMING_EVENT, Fault, counting
from lab.vm.graph import Rule

MAX_FRAGMENT = 4096
"""Bytes, or a block where that is larger; smaller ones only where a write must end on a smaller
boundary."""


@dataclass(frozen=True)
class Strike:
    """A copy, the point at which it is struck, and the errno that the medium answers with there.

    `cut`: blocks of its range that a torn write leaves; 0, or more than there are: half of them.
    `flushes`: the guest itself flushes during the copy, as file systems do.
    """

    copy: Copy
    point: Point
    errno: int = 0
    cut: int = 0
    flushes: bool = False

    @property
    def iotype(self) -> str:
        """The kind of request that it is, as blkdebug calls it."""
        return "read" if self.point.stage is Stage.READ else "write"


def nothing(_: Strike) -> Fault:
    """Nothing is held."""
    return Fault(held=False)


def hold(strike: Strike) -> Fault:
    """The request is held at the point."""
    return Fault(nth=strike.point.k)


def fail(strike: Strike) -> Fault:
    """The held request can be made to fail.

    Where the guest flushes, the flush that arms the error would not be the lab's alone, so one is
    chosen that nobody arms by chance (see lab/faults/choice.py).
    """
    if strike.flushes:
        arming = tuple(choice.commands(strike.iotype, strike.errno))
        return Fault(nth=strike.point.k, more=choice.options(), arming=arming)
    return Fault((Rule(ARMING_EVENT, strike.iotype, strike.errno),), nth=strike.point.k)


def fail_unheld(strike: Strike) -> Fault:
    """The request fails by itself: the fault layer counts to it."""
    return Fault(nth=strike.point.k, more=counting(strike.point, strike.errno), held=False)


def tear(strike: Strike) -> Fault:
    """The held write can be made to end `cut` blocks into its range, on a boundary of the atomic
    unit: requests are cut into fragments, and the one that begins there fails."""
    copy, k = strike.copy, strike.point.k
    parts = [target for _, target in copy.pieces()]
    part = parts[k - 1]
    before = (strike.cut or part.sectors // copy.unit // 2) * copy.unit
    if not before < part.sectors:
        before = part.sectors // copy.unit // 2 * copy.unit
    # Below is the write log, which takes whole blocks only.
    fragment = math.gcd(before * SECTOR, max(MAX_FRAGMENT, copy.unit * SECTOR))
    earlier = sum(-(-other.sectors * SECTOR // fragment) for other in parts[: k - 1])
    rule = Rule(ARMING_EVENT, strike.iotype, strike.errno, sector=part.start + before)
    return Fault((rule,), fragment, earlier + 1)


def rate_for(copy: Copy, k: int, seconds: float) -> int:
    """The limit, in bytes a second, under which the k-th write waits about that long."""
    return max(1, int(copy.sources[k - 1].sectors * SECTOR / seconds))
