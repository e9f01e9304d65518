# SPDX-License-Identifier: GPL-2.0-or-later
"""A write held by a rate limit: unlike one at a breakpoint, QEMU can drain it.

Once the limit is set one request passes and is counted, and the next one waits.  So the limit is
set before the k-th read goes down, and the k-th write is what waits: for k = 1 before the copy
starts, otherwise while it is frozen after the write before.

    limit … read k passes … write k waits … release, or its time is up … write k

No event says that a request waits in the throttle.  That it does is seen from what does not
happen: the copy goes on neither to its end nor to the write log.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from lab.errors import LabError
from lab.faults.model import Point, Stage
from lab.faults.stepper import NotReached, Stepper
from lab.vm.graph import Drive
from lab.vm.machine import Machine

_SETTLED = 0.1
"""Seconds for the read before the held write; it takes a millisecond."""

FOREVER = 1
"""Bytes a second: a sector waits for minutes, a range for hours."""


class Throttle:
    """Holds the k-th write of the copy that runs on one drive.

    `written` counts the writes that have reached the write log since the copy began; `ended`
    tells whether the copy has ended.
    """

    def __init__(
        self,
        machine: Machine,
        drive: Drive,
        written: Callable[[], int],
        ended: Callable[[], bool],
    ) -> None:
        self._machine = machine
        self._drive = drive
        self._written = written
        self._ended = ended

    def hold(self, k: int, rate: int, start: Callable[[], None], deadline: float) -> None:
        """Start the copy and let it run until its k-th write waits under `rate` bytes a second.

        Raises NotReached when it ends first or the limit does not hold it, KernelHang when it does
        neither; no limit is left then.
        """
        if k == 1:
            self._limit(rate)
            start()
        else:
            before = Point(Stage.WRITTEN, k - 1)
            stepper = Stepper(self._machine, [self._drive], self._ended)
            stepper.arm(before)
            start()
            try:
                stepper.hold(before, k - 1, deadline)
            except LabError:
                with suppress(LabError):
                    stepper.disarm()
                raise
            self._limit(rate)
            stepper.release()
        time.sleep(_SETTLED)
        if self._ended() or self._written() != k - 1:
            self.release()
            raise NotReached(f"the rate limit did not hold write:{k}")

    def release(self) -> None:
        """Take the limit away: what waits goes on."""
        self._limit(0)

    def _limit(self, rate: int) -> None:
        """Set the limit, in bytes a second; 0 for none, which also lets go what waits (QEMU
        block/block-backend.c, blk_io_limits_disable, drains)."""
        others = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        self._machine.execute(
            "block_set_io_throttle", {"id": self._drive.qdev, "bps": rate, **others}
        )
