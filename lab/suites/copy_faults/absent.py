# SPDX-License-Identifier: GPL-2.0-or-later
"""A case of which no guest can tell: its kernel failed as it came up, before the copy or after it,
or in the copy, and what that was made on lay in its memory."""

from lab.copy.contract import RULES, Aftermath, Facts, Offload, Recovery
from lab.copy.contract.verdict import not_applicable, violated
from lab.copy.oracle import Tagging, classify
from lab.copy.tags import unreadable
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.cell import Setup


def judged(setup: Setup, crash: str, seconds: float) -> CaseResult:
    """The verdict on a kernel that crashed, or hangs, as `crash` says, when it looked at what the
    case is about: NO-HANG is violated, and nothing can be said of the other rules."""
    return _judged(setup, crash, seconds, "no guest came up", "as the guest looked at its disks: ")


def lost(setup: Setup, crash: str, seconds: float) -> CaseResult:
    """The same of one that crashed, or hangs, in the copy, with all that could be seen of that."""
    return _judged(setup, crash, seconds, "what was copied on is gone with the guest")


def _judged(setup: Setup, crash: str, seconds: float, why: str, when: str = "") -> CaseResult:
    copy, window = setup.layout.copy, setup.layout.window
    data = unreadable(why) * window.sectors
    findings = classify(copy, Tagging(window, 0, 0), data)
    facts = Facts(
        findings=findings,
        aftermath=Aftermath.CRASHED,
        completion=None,
        injected="",
        flushed=False,
        waited=None,
        deadline=0.0,
        crash=crash,
        complaints=(),
        stray_writes=(),
        offload=Offload(),
        recovery=Recovery(None, findings, crash),
        reached=False,
    )
    rules = dict.fromkeys(RULES, not_applicable(why))
    rules["NO-HANG"] = violated(f"{when}{crash}")
    return CaseResult(setup.point, setup.action, facts, rules, "violated", seconds)
