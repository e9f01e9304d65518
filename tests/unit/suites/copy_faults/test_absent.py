# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict where the guest's kernel failed before the copy."""

from lab.copy.contract import Ruling
from lab.copy.model import Copy, Extent, Layout
from lab.faults.actions import REHEARSAL
from lab.faults.model import REHEARSED
from lab.suites.copy_faults.absent import judged
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.report import JudgedCase, broken_rules

CRASH = "the guest's kernel: watchdog: BUG: soft lockup - CPU#0 stuck for 41s! [udevd:148]"


def test_only_that_it_hangs_is_known() -> None:
    copy = Copy((Extent(2112, 8),), 2176, unit=1)
    setup = Setup(Layout(copy, Extent(2048, 256)), REHEARSED, REHEARSAL, "bdev-cfr", "S:1")
    result = judged(setup, CRASH, 41.5)
    assert result.verdict == "violated"
    assert broken_rules(result) == ["NO-HANG"]
    assert CRASH in result.rules["NO-HANG"].evidence
    others = {verdict.verdict for rule, verdict in result.rules.items() if rule != "NO-HANG"}
    assert others == {Ruling.NOT_APPLICABLE}
    document = JudgedCase(0, setup, result).document()
    assert document["outcome"]["completion"] is None
    assert "unreadable" in document["sectors"]["copied"]["destination"]
