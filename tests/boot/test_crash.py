"""A QEMU that crashes is the device under test failing: a finding, not a failure of the lab."""

import os
import signal
from dataclasses import replace

import pytest

from lab.copy.plant import Plant
from lab.faults.model import Action
from lab.guest.guest import attach
from lab.guest.registry import find
from lab.profile.load import load
from lab.suites import copy_faults, options
from lab.suites.case import CaseResult
from tests.boot.conftest import Lab


class Abort(Plant):
    """Ends QEMU as a failed assertion does, while the copy is held; later cases go undisturbed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._done = False

    def delay(self, deadline: float) -> float:
        if not self._done:
            os.kill(find(self._name).qemu.pid, signal.SIGABRT)
            self._done = True
        return 0.0


def test_a_crash_is_a_violated_rule_and_the_sweep_goes_on(
    lab: Lab, guest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(lab.state))
    asked = options.parse(["--points", "write:2,written:2", "--actions", str(Action.RESUME)])
    judged: list[CaseResult] = []
    report = copy_faults.run(
        load("nvme-copy"),
        replace(asked, plant=Abort(guest)),
        lambda phase: None,
        judged.append,
        on=attach(guest),
    )
    assert report.error is None
    assert [case.verdict for case in judged] == ["violated", "holds"]
    crashed = judged[0]
    assert "QEMU was killed by signal 6" in crashed.rules["NO-HANG"].evidence
    assert crashed.rules["RECOVERS"].verdict == "holds"
    assert report.exit_status == 1
