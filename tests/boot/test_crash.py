# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU that crashes is the device under test failing: a finding, not a failure of the lab."""

import os
import signal
from dataclasses import dataclass, replace

import pytest

from lab.copy.ground import Ground
from lab.copy.model import Copy
from lab.copy.oracle import Tagging
from lab.copy.plant import Plant
from lab.faults.actions import Action
from lab.guest.guests import attach
from lab.guest.registry import find
from lab.profile.load import load
from lab.suites.copy_faults import options
from lab.suites.copy_faults.acts.registry import action_called
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.run import carry_out
from lab.suites.copy_faults.sweep import as_sweep
from lab.vm.graph import Rule
from tests.boot.conftest import Lab


@dataclass
class Keeping:
    """Watches a run, and keeps what was judged."""

    judged: list[CaseResult]

    def progress(self, text: str) -> None: ...
    def on_total(self, cases: int) -> None: ...
    def on_begin(self, title: str) -> None: ...
    def on_case(self, case: CaseResult) -> None:
        self.judged.append(case)


class Abort(Plant):
    """Ends QEMU once as a failed assertion does, at a hook of the first case with a point; the
    rehearsal before it and later cases go undisturbed."""

    def __init__(self, name: str, hook: str) -> None:
        self._name = name
        self._hook = hook
        self._cases = 0

    def _strike(self, hook: str) -> None:
        if hook == self._hook and self._cases > 1:
            os.kill(find(self._name).qemu.pid, signal.SIGABRT)
            self._hook = ""

    def rules(self, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        self._cases += 1
        self._strike("before the copy")
        return rules

    def request(self, request: dict[str, object]) -> dict[str, object]:
        self._strike("while it runs")
        return request

    def delay(self, deadline: float) -> float:
        self._strike("while it is held")
        return 0.0

    def medium(self, ground: Ground, copy: Copy, tagging: Tagging, succeeded: bool) -> None:
        self._strike("before it recovers")


@pytest.mark.parametrize(
    ("hook", "point", "action", "rule"),
    [
        ("before the copy", "write:2", action_called("resume"), "NO-HANG"),
        ("while it runs", "write:2", action_called("resume"), "NO-HANG"),
        ("while it runs", "flushed", action_called("power-cut"), "NO-HANG"),
        ("while it is held", "write:2", action_called("resume"), "NO-HANG"),
        ("while it is held", "write:2", action_called("throttle"), "NO-HANG"),
        ("before it recovers", "write:2", action_called("resume"), "RECOVERS"),
    ],
)
def test_a_crash_is_a_violated_rule_and_the_sweep_goes_on(
    lab: Lab,
    guest: str,
    monkeypatch: pytest.MonkeyPatch,
    hook: str,
    point: str,
    action: Action,
    rule: str,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(lab.state))
    asked = options.parse(["--points", f"{point},written:2", "--actions", f"{action},resume"])
    judged: list[CaseResult] = []
    report = carry_out(
        as_sweep(load("nvme-copy"), replace(asked, plant=Abort(guest, hook))),
        Keeping(judged),
        on=attach(guest),
    )
    assert report.error is None
    rehearsal, crashed, *others = judged
    assert rehearsal.verdict == "holds"
    assert crashed.verdict == "violated"
    assert "QEMU was killed by signal 6" in crashed.rules[rule].evidence
    assert others
    assert {case.verdict for case in others} == {"holds"}
    if rule == "NO-HANG":
        assert crashed.rules["RECOVERS"].verdict == "holds"
    assert report.exit_status == 1
    # The guest was booted again, and has the names of its disks as before.
    lab("ssh", guest, "--", "readlink -e /dev/lab/LABNVME0 && readlink -e /dev/lab/LABNVME0:1")
