# SPDX-License-Identifier: GPL-2.0-or-later
"""What every run writes down, whatever comes of it."""

import json

import pytest

from lab.errors import HostError
from lab.results import runs
from lab.results.cases import Case, CaseStatus
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
    timeline = (record.directory / runs.TIMELINE).read_text()
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


def test_what_is_made_of_no_run_yet_says_nothing_of_what_it_ran_on() -> None:
    with recorded(Conformance, "conformance", profile("p"), None, {}) as (record, _):
        raise HostError("no QEMU")
    document = runs.document(record.id)
    assert document["suite"] == "conformance"
    assert not {"kernel", "qemu", "accelerator", "boot"} & document.keys()
