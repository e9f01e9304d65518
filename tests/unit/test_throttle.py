# SPDX-License-Identifier: GPL-2.0-or-later
"""A write held by a rate limit: exactly the k-th waits, and goes on when the limit is gone."""

from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.model import SECTOR, Copy, Extent
from lab.faults.stepper import NotReached
from lab.faults.throttle import FOREVER, Throttle
from lab.suites.copy_faults.fault import rate_for
from lab.vm.machine import Machine
from tests.unit.test_faults import COPY_EVENTS, DRIVE, Blkdebug


class Limited(Blkdebug):
    """A device that a rate limit can hold as well: one request passes, the next one waits
    (QEMU util/throttle.c, with so low a rate that nothing is ever paid off)."""

    def __init__(self, directory: Path, obeys: bool = True) -> None:
        super().__init__(directory, COPY_EVENTS)
        self.limits: list[int] = []
        self._obeys = obeys
        self._passed: set[int] = set()

    def execute(self, command: str, arguments: dict[str, object]) -> None:
        assert command == "block_set_io_throttle"
        limit = arguments.pop("bps")
        assert isinstance(limit, int)
        assert arguments.pop("id") == "d0n1"
        assert set(arguments.values()) == {0}
        self.limits.append(limit)
        # What has begun is through; the count starts anew.
        self._passed = set()
        if not limit:
            self.start()

    def waits(self) -> bool:
        limited = bool(self.limits and self.limits[-1]) and self._obeys
        at = len(self.done)
        if not limited or COPY_EVENTS[at] not in ("read_aio", "pwritev"):
            return False
        if not self._passed:
            self._passed.add(at)
        return at not in self._passed

    def written(self) -> int:
        return self.done.count("pwritev_done")


def throttle_on(device: Limited) -> Throttle:
    """A throttle for a copy on that device."""
    return Throttle(cast(Machine, device), DRIVE, device.written, device.ended)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_kth_write_waits_for_the_limit_to_go(tmp_path: Path, k: int) -> None:
    device = Limited(tmp_path)
    throttle = throttle_on(device)
    throttle.hold(k, FOREVER, device.start, deadline=5)
    assert device.done == COPY_EVENTS[: 3 * (k - 1) + 1]
    assert not device.holding, "a drain would not hang"
    throttle.release()
    assert device.done == COPY_EVENTS
    assert device.limits == [FOREVER, 0]


@pytest.mark.parametrize("k", [1, 2])
def test_a_limit_that_does_not_hold_is_told_and_taken_away(tmp_path: Path, k: int) -> None:
    device = Limited(tmp_path, obeys=False)
    with pytest.raises(NotReached, match=f"write:{k}"):
        throttle_on(device).hold(k, FOREVER, device.start, deadline=5)
    assert device.limits[-1] == 0


@given(st.integers(1, 2**16), st.floats(0.1, 1000))
def test_a_write_waits_as_long_as_the_read_before_it_costs(sectors: int, seconds: float) -> None:
    copy = Copy((Extent(0, 1), Extent(8, sectors)), destination=2**20)
    rate = rate_for(copy, 2, seconds)
    assert rate >= 1
    assert sectors * SECTOR / rate >= min(seconds, sectors * SECTOR) * 0.99
