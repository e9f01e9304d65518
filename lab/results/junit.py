# SPDX-License-Identifier: GPL-2.0-or-later
"""A run's cases as JUnit XML, for CI systems."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import junitparser

from lab.results.cases import Case, CaseStatus


def xml(
    run: str, suite: str, cases: Sequence[Case], properties: Mapping[str, str] | None = None
) -> str:
    """One testsuite for each section, in the order of the cases; one without any if there is none.

    Each has those of `properties` that are not empty: what must be known of the run.  An expected
    failure and a copy that fell back are reported as skipped, with the reason: JUnit has no word
    for them.
    """
    document = junitparser.JUnitXml(run)
    sections = groupby(cases, key=lambda case: case.section)
    for section, group in sections if cases else [("", iter(()))]:
        name = f"{suite}.{section}" if section else suite
        tests = junitparser.TestSuite(_clean(name))
        for key, value in (properties or {}).items():
            if value:
                tests.add_property(key, _clean(value))
        for case in group:
            tests.add_testcase(_test(name, case))
        document.add_testsuite(tests)
    document.update_statistics()  # type: ignore[no-untyped-call]
    text: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return text.decode()


def _test(suite: str, case: Case) -> junitparser.TestCase:
    name = case.name if case.attempt == 1 else f"{case.name} (repetition {case.attempt})"
    test = junitparser.TestCase(_clean(name), _clean(suite), round(case.seconds, 3))
    words = _clean(f"{case.status}: {case.reason}" if case.reason else case.status.value)
    if case.status is CaseStatus.NOTRUN:
        test.result = [junitparser.Skipped(_clean(case.reason))]
    elif case.status is CaseStatus.FELL_BACK:
        test.result = [junitparser.Skipped(words)]
    elif case.unexpected:
        kind = junitparser.Failure if case.status is CaseStatus.FAIL else junitparser.Error
        test.result = [kind(words, case.status.value)]
    elif case.status is not CaseStatus.PASS:
        test.result = [junitparser.Skipped(f"expected to fail: {_clean(case.known)}; {words}")]
    if case.output:
        test.system_out = _clean(case.output)
    return test


def _clean(text: str) -> str:
    """Text without control characters, which tests may well print and XML 1.0 has no place for."""
    return "".join(c for c in text if c in "\t\n" or c.isprintable())
