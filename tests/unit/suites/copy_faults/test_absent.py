# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict where the guest's kernel failed before the copy, or took along what was copied on."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from lab.copy.contract import Ruling
from lab.copy.model import Copy, Extent, Layout
from lab.copy.plant import Plant
from lab.faults.actions import REHEARSAL
from lab.faults.model import REHEARSED
from lab.suites.copy_faults.absent import judged, lost
from lab.suites.copy_faults.case import BenchCase
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import DeviceFailure, GroundLost
from lab.suites.copy_faults.report import JudgedCase, broken_rules

CRASH = "the guest's kernel: watchdog: BUG: soft lockup - CPU#0 stuck for 41s! [udevd:148]"
LAYOUT = Layout(Copy((Extent(2112, 8),), 2176, unit=1), Extent(2048, 256))


def test_only_that_it_hangs_is_known() -> None:
    setup = Setup(LAYOUT, REHEARSED, REHEARSAL, "bdev-cfr", "S:1")
    result = judged(setup, CRASH, 41.5)
    assert result.verdict == "violated"
    assert broken_rules(result) == ["NO-HANG"]
    assert CRASH in result.rules["NO-HANG"].evidence
    others = {verdict.verdict for rule, verdict in result.rules.items() if rule != "NO-HANG"}
    assert others == {Ruling.NOT_APPLICABLE}
    document = JudgedCase(0, setup, result).document()
    assert document["outcome"]["completion"] is None
    assert "unreadable" in document["sectors"]["copied"]["destination"]


def test_sectors_that_are_gone_with_the_guest_are_not_judged() -> None:
    setup = Setup(LAYOUT, REHEARSED, REHEARSAL, "bdev-cfr-memory", "memory")

    @contextmanager
    def device_may_fail() -> Iterator[None]:
        raise DeviceFailure(CRASH)
        yield

    bench: Any = SimpleNamespace(
        path=SimpleNamespace(passthrough=False, survives_boot=False),
        run=SimpleNamespace(emit=lambda *_, **__: None),
        oracle=SimpleNamespace(tag=lambda layout: None),
        inquest=SimpleNamespace(device_may_fail=device_may_fail),
    )
    with pytest.raises(GroundLost, match="soft lockup"):
        BenchCase(bench, setup, Plant(), 10.0).run()
    result = lost(setup, CRASH, 1.0)
    assert broken_rules(result) == ["NO-HANG"]
    assert result.rules["NO-HANG"].evidence == CRASH
    assert "gone with the guest" in result.rules["SOURCE"].evidence
