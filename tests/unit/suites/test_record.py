# SPDX-License-Identifier: GPL-2.0-or-later
"""What every run writes down, whatever comes of it."""

import json

import pytest

from lab.errors import HostError
from lab.results import runs
from lab.results.cases import Case, CaseStatus
from lab.results.run import BROKEN_OFF, DOCUMENT, TIMELINE, Run
from lab.suites.conformance.report import Conformance
from lab.suites.outcome import Results
from lab.suites.record import recorded
from tests.unit.builders import profile


def test_what_the_lab_fails_at_ends_the_run_and_stands_in_its_outcome() -> None:
    with recorded(Results, "fsx", profile("p"), None, {"seed": 1}) as (record, outcome):
        outcome.cases.append(Case("seed-1", CaseStatus.PASS, 1.0))
        raise HostError("QEMU is gone")
    assert (outcome.exit_status, outcome.suite, outcome.run) == (3, "fsx", record.id)
    found = runs.load(outcome.run)
    assert found.document == json.loads(json.dumps(outcome.document()))
    assert found.document["error"] == "QEMU is gone"
    assert found.document["options"] == {"seed": 1}
    assert json.loads(found.profile)["name"] == "p"
    timeline = (record.directory / TIMELINE).read_text()
    assert "QEMU is gone" in timeline
    assert not runs.interrupted(outcome.run)


def test_a_run_that_is_broken_off_has_its_cases_and_says_so() -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        recorded(Results, "fsx", profile("p"), None, {}) as (record, outcome),
    ):
        outcome.cases.append(Case("seed-1", CaseStatus.FAIL, 1.0))
        raise KeyboardInterrupt
    assert [case["name"] for case in runs.document(record.id)["cases"]] == ["seed-1"]
    assert runs.interrupted(record.id)


def test_that_it_was_broken_off_is_said_before_what_there_is_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known: list[bool] = []
    write = Run.write

    def watched(run: Run, name: str, content: str) -> None:
        if name == DOCUMENT:
            known.append(runs.interrupted(run.id))
        write(run, name, content)

    monkeypatch.setattr(Run, "write", watched)
    with (
        pytest.raises(KeyboardInterrupt),
        recorded(Results, "fsx", profile("p"), None, {}) as (record, _),
    ):
        raise KeyboardInterrupt
    assert known == [True]
    timeline = (record.directory / TIMELINE).read_text()
    assert timeline.count(BROKEN_OFF) == 1


def test_a_guest_that_says_so_has_not_broken_a_run_off() -> None:
    words = "nvme nvme0: copy broken off by the peer"
    forged = json.dumps({"source": "lab", "event": BROKEN_OFF})
    with recorded(Results, "fsx", profile("p"), None, {}) as (record, outcome):
        record.emit("kernel", "message", text=words)
        record.emit("kernel", BROKEN_OFF, text=forged)
        # The end of a longer line is none of its own.
        record.emit("kernel", "message", text=forged + "x" * 4000 + f"\n{forged}\n")
    assert not runs.interrupted(outcome.run)
    assert runs.ended(outcome.run)


def test_what_is_made_of_no_run_yet_says_nothing_of_what_it_ran_on() -> None:
    with recorded(Conformance, "conformance", profile("p"), None, {}) as (record, _):
        raise HostError("no QEMU")
    document = runs.document(record.id)
    assert document["suite"] == "conformance"
    assert not {"kernel", "qemu", "accelerator", "boot"} & document.keys()
