# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of cases: their JSON, JUnit, and what counts as a failure."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.results.cases import Case, CaseStatus, counts, ratios, read
from lab.results.junit import xml

cases = st.builds(
    Case,
    name=st.text(min_size=1),
    status=st.sampled_from(CaseStatus),
    seconds=st.floats(0, 1e6),
    reason=st.text(),
    section=st.text(),
    attempt=st.integers(1, 1000),
    known=st.text(),
    files=st.lists(st.text()).map(tuple),
    output=st.text(),
)


@given(cases)
def test_the_json_of_a_case_is_the_case(case: Case) -> None:
    assert read(case.document()) == case


@pytest.mark.parametrize("status", CaseStatus)
def test_only_failures_that_nobody_knew_of_are_unexpected(status: CaseStatus) -> None:
    failed = status in ("fail", "hung", "crashed")
    assert Case("a", status, 1).unexpected == failed
    assert not Case("a", status, 1, known="since ever").unexpected


def test_a_known_failure_that_passes_is_told() -> None:
    assert Case("a", CaseStatus.PASS, 1, known="since ever").repaired
    assert not Case("a", CaseStatus.NOTRUN, 1, known="since ever").repaired


def test_cases_that_are_judged_by_the_contract_are_read_too() -> None:
    verdicts = {
        "holds": "pass", "violated": "fail", "not exercised": "notrun", "fell back": "fell back",
    }  # fmt: skip
    for verdict, status in verdicts.items():
        assert read({"name": "write:1 eio", "verdict": verdict, "seconds": 2}).status == status


def test_a_judged_case_that_failed_says_which_rules_it_broke() -> None:
    rules = {
        "COMPLETE": {"verdict": "violated", "evidence": "2 sectors are not"},
        "SOURCE": {"verdict": "holds", "evidence": "unchanged"},
        "OFFLOADED": {"verdict": "violated", "evidence": "no Copy was seen"},
    }
    case = read({"name": "write:1 eio", "verdict": "violated", "rules": rules})
    assert case.reason == "COMPLETE: 2 sectors are not; OFFLOADED: no Copy was seen"


def test_a_copy_that_fell_back_says_how_its_caller_was_served() -> None:
    rules = {
        "COMPLETE": {"verdict": "holds", "evidence": "all are"},
        "SIGNALLED": {"verdict": "fell back", "evidence": "write 1 failed; 2 writes"},
        "OFFLOADED": {"verdict": "fell back", "evidence": "2 writes"},
    }
    case = read({"name": "write:1 eio", "verdict": "fell back", "rules": rules})
    assert case.reason == "SIGNALLED: write 1 failed; 2 writes; OFFLOADED: 2 writes"
    assert not case.unexpected


def test_cases_are_counted_by_status_and_repetitions_by_case() -> None:
    some = [
        Case("a", CaseStatus.PASS, 1, section="xfs"),
        Case("a", CaseStatus.FAIL, 1, section="xfs", attempt=2),
        Case("a", CaseStatus.PASS, 1, section="ext4"),
        Case("b", CaseStatus.HUNG, 1),
    ]
    assert counts(some) == {"pass": 2, "fail": 1, "hung": 1}
    assert ratios(some) == {"xfs:a": (1, 2)}


def test_junit_tells_failures_from_what_broke_and_from_what_was_expected() -> None:
    some = [
        Case("a", CaseStatus.PASS, 1.5, section="xfs"),
        Case("b", CaseStatus.FAIL, 1, "output mismatch", section="xfs", output="- 1\n+ 2\x00\n"),
        Case("c", CaseStatus.CRASHED, 1, "BUG: oh", section="xfs"),
        Case("d", CaseStatus.NOTRUN, 1, "no $SCRATCH_DEV", section="ext4"),
        Case("e", CaseStatus.FAIL, 1, section="ext4", known="since ever"),
        Case("f", CaseStatus.FELL_BACK, 1, "OFFLOADED: 2 writes", section="ext4"),
    ]
    root = ET.fromstring(xml("20260101-000000-abcd", "fstests", some))
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["fstests.xfs", "fstests.ext4"]
    assert [suites["fstests.xfs"].get(key) for key in ("tests", "failures", "errors")] == list(
        "311"
    )
    assert suites["fstests.ext4"].get("skipped") == "3"
    assert root.findtext(".//testcase[@name='b']/system-out") == "- 1\n+ 2\\x00\n"
    assert root.find(".//property") is None
    skipped = root.find(".//testcase[@name='e']/skipped")
    assert skipped is not None and "since ever" in (skipped.get("message") or "")
    skipped = root.find(".//testcase[@name='f']/skipped")
    assert skipped is not None and skipped.get("message") == "fell back: OFFLOADED: 2 writes"


@pytest.mark.parametrize("some", [[], [Case("a", CaseStatus.PASS, 1)]])
def test_junit_tells_what_must_be_known_of_the_run(some: list[Case]) -> None:
    told = {"plant": "flip-bit", "error": ""}
    (found,) = ET.fromstring(xml("run", "copy-faults", some, told)).iter("property")
    assert (found.get("name"), found.get("value")) == ("plant", "flip-bit")


@given(st.lists(cases, max_size=5))
def test_whatever_a_test_prints_is_valid_xml(some: list[Case]) -> None:
    ET.fromstring(xml("run", "suite", some))
