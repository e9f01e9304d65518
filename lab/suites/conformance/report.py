# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of the suite conformance has come to: the reports of its paths, compared."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lab.copy.model import Completion
from lab.copy.paths import REFERENCE
from lab.suites.conformance.matrix import (
    CaseRuling,
    Matrix,
    ObservedCase,
    RuleDifference,
    Situation,
    differences,
    matrix,
)
from lab.suites.conformance.quirks import Quirk
from lab.suites.copy_faults.report import JudgedCase, Report
from lab.suites.outcome import Outcome


@dataclass(kw_only=True)
class Conformance(Outcome):
    """A run of the suite: the reports of its paths, the reference's first."""

    reports: list[Report] = field(default_factory=list)
    known: tuple[Quirk, ...] = ()
    reference: str = REFERENCE
    """The path that the others are compared with."""

    def add(self, report: Report) -> None:
        """A path has its report.  What the last ran on is what the paths under test ran on."""
        self.reports.append(report)
        self.kernel, self.qemu, self.boot = report.kernel, report.qemu, report.boot
        self.accelerator = report.accelerator
        self.accelerator_note = report.accelerator_note
        self.error = report.error

    @property
    def device(self) -> str:
        """On what the differences were seen, as quirks name it."""
        return f"QEMU {self.qemu}, Linux {self.kernel}"

    def observed(self) -> list[ObservedCase]:
        """All judged cases, as they are compared."""
        return [_observed(report, case) for report in self.reports for case in report.cases]

    def matrix(self) -> Matrix:
        """The worst ruling by path, situation and rule."""
        return matrix(self.observed())

    def differences(self) -> list[RuleDifference]:
        """Where the other paths differ from the reference."""
        return differences(self.observed(), self.reference)

    def quirk(self, difference: RuleDifference) -> Quirk | None:
        """The known quirk that a difference is."""
        covering = (quirk for quirk in self.known if quirk.covers(difference, self.device))
        return next(covering, None)

    def new(self) -> list[RuleDifference]:
        """The differences that are no known quirk."""
        return [each for each in self.differences() if not self.quirk(each)]

    @property
    def failed(self) -> bool:
        """Whether there is a difference that is no known quirk, or a path that could not be
        compared."""
        exercised = {case.path for case in self.observed() if case.exercised}
        incomparable = any(report.path.name not in exercised for report in self.reports)
        return incomparable or bool(self.new())

    def _found(self) -> dict[str, Any]:
        return {
            "reference": self.reference,
            "device": self.device if self.reports else None,
            "paths": [_column(report) for report in self.reports],
            "differences": [self._difference(each) for each in self.differences()],
            "cases": list(self._cases()),
        }

    def _platform(self) -> dict[str, Any]:
        return super()._platform() if self.reports else {}

    def _difference(self, found: RuleDifference) -> dict[str, Any]:
        quirk = self.quirk(found)
        return {
            "path": found.path,
            "rule": found.rule,
            "situation": str(found.situation),
            "here": _ruled(found.here),
            "reference": found.reference and _ruled(found.reference),
            "known": quirk and quirk.consequence,
        }

    def _cases(self) -> Iterator[dict[str, Any]]:
        for report in self.reports:
            for case in report.cases:
                yield {
                    "run": report.run,
                    "situation": str(_situation(case)),
                    **case.document(),
                }


def _column(report: Report) -> dict[str, Any]:
    return {
        "path": report.path.name,
        "on": report.path.ref,
        "does": report.path.does,
        "profile": report.profile.name,
        "run": report.run,
        "not_supported": report.not_supported or None,
        "verdicts": report.counts(),
    }


def _ruled(ruled: CaseRuling) -> dict[str, str]:
    return {"verdict": str(ruled.ruling), "evidence": ruled.evidence, "case": ruled.case}


def _situation(case: JudgedCase) -> Situation:
    return Situation(case.setup.point.stage, case.setup.action, case.setup.size)


def _observed(report: Report, case: JudgedCase) -> ObservedCase:
    seen = case.result.facts
    told = seen.completion
    failed = told if told and told.error and seen.injected else None
    name = f"{report.run}:{case.number}"
    return ObservedCase(
        path=report.path.name,
        situation=_situation(case),
        rules={
            rule: CaseRuling(found.verdict, found.evidence, name)
            for rule, found in case.result.rules.items()
        },
        error=failed.error if failed else "",
        misnamed=_misnamed(report, case, failed),
        exercised=case.result.verdict != "not exercised",
    )


def _misnamed(report: Report, case: JudgedCase, failed: Completion | None) -> str:
    """What is wrong with the status that the caller was told of a failed medium or of a copy above
    a limit; '' if nothing."""
    told = case.result.facts.completion
    if case.result.facts.excess and told and not told.succeeded:
        return report.path.refuses_wrongly(told)
    return report.path.misnames(failed, case.setup.point.stage) if failed else ""
