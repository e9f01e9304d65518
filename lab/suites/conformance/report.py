"""What a run of the suite conformance has come to: the reports of its paths, compared."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.copy.model import Completion
from lab.copy.paths import REFERENCE
from lab.errors import LabError
from lab.profile.models import Profile
from lab.suites.conformance.matrix import (
    Difference,
    Matrix,
    Observed,
    Ruled,
    Situation,
    differences,
    matrix,
)
from lab.suites.conformance.options import NAME
from lab.suites.conformance.quirks import Quirk
from lab.suites.copy_faults.report import Judged, Report


@dataclass
class Conformance:
    """A run of the suite: the reports of its paths, the reference's first."""

    run: str
    directory: Path
    profile: Profile
    asked: dict[str, Any]
    reports: list[Report] = field(default_factory=list)
    known: tuple[Quirk, ...] = ()
    seconds: float = 0.0
    error: LabError | None = None

    @property
    def device(self) -> str:
        """On what the differences were seen, as quirks name it."""
        seen = self.reports[-1]
        return f"QEMU {seen.qemu}, Linux {seen.kernel}"

    def observed(self) -> list[Observed]:
        """All judged cases, as they are compared."""
        return [_observed(report, case) for report in self.reports for case in report.cases]

    def matrix(self) -> Matrix:
        """The worst ruling by path, situation and rule."""
        return matrix(self.observed())

    def differences(self) -> list[Difference]:
        """Where the other paths differ from the reference."""
        return differences(self.observed(), REFERENCE)

    def quirk(self, difference: Difference) -> Quirk | None:
        """The known quirk that a difference is."""
        covering = (quirk for quirk in self.known if quirk.covers(difference, self.device))
        return next(covering, None)

    def new(self) -> list[Difference]:
        """The differences that are no known quirk."""
        return [each for each in self.differences() if not self.quirk(each)]

    @property
    def accelerator_note(self) -> str:
        """Why it is not KVM."""
        return self.reports[-1].accelerator_note if self.reports else ""

    @property
    def exit_status(self) -> int:
        """0: no difference, but known quirks; 1: a new one, or a path that could not be compared;
        otherwise that of the lab's error."""
        if self.error:
            return self.error.exit_status
        exercised = {case.path for case in self.observed() if case.exercised}
        incomparable = any(report.path.name not in exercised for report in self.reports)
        return int(incomparable or bool(self.new()))

    def document(self) -> dict[str, Any]:
        """The run's JSON."""
        return {
            "run": self.run,
            "suite": NAME,
            "profile": self.profile.name,
            "options": self.asked,
            "reference": REFERENCE,
            "device": self.device if self.reports else None,
            **self._platform(),
            "paths": [_column(report) for report in self.reports],
            "differences": [self._difference(each) for each in self.differences()],
            "cases": list(self._cases()),
            "seconds": round(self.seconds, 3),
            "error": str(self.error) if self.error else None,
        }

    def _platform(self) -> dict[str, Any]:
        """What the paths under test ran on."""
        if not self.reports:
            return {}
        last = self.reports[-1]
        return {
            "kernel": last.kernel,
            "qemu": last.qemu,
            "accelerator": last.accelerator,
            "boot": last.boot,
        }

    def _difference(self, found: Difference) -> dict[str, Any]:
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


def _ruled(ruled: Ruled) -> dict[str, str]:
    return {"verdict": str(ruled.ruling), "evidence": ruled.evidence, "case": ruled.case}


def _situation(case: Judged) -> Situation:
    return Situation(case.setup.point.stage, case.setup.action, case.setup.size)


def _observed(report: Report, case: Judged) -> Observed:
    seen = case.result.situation
    told = seen.completion
    failed = told if told and told.error and seen.injected else None
    name = f"{report.run}:{case.number}"
    return Observed(
        path=report.path.name,
        situation=_situation(case),
        rules={
            rule: Ruled(found.verdict, found.evidence, name)
            for rule, found in case.result.rules.items()
        },
        error=failed.error if failed else "",
        misnamed=_misnamed(report, case, failed),
        exercised=case.result.verdict != "not exercised",
    )


def _misnamed(report: Report, case: Judged, failed: Completion | None) -> str:
    """What is wrong with the status that the caller was told of a failed medium or of a copy above
    a limit; '' if nothing."""
    told = case.result.situation.completion
    if case.result.situation.excess and told and not told.succeeded:
        return report.path.refuses_wrongly(told)
    return report.path.misnames(failed, case.setup.point.stage) if failed else ""
