# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing runs of the store: their outcomes, and those that tell how flaky the baseline is."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from lab.errors import UsageError
from lab.results.compare import BAD, Item, ItemDifference, Outcomes, compare, counts
from lab.results.remarks import remarks
from lab.results.store.query import alike, outcomes_of
from lab.results.store.schema import RunRow

HISTORY = 20
"""Runs of the baseline, itself included, that tell how flaky it is."""

_PASSED = {
    "pass": True, "fail": False, "hung": False, "crashed": False, "notrun": None,
    # What was offloaded before and is not any more has regressed.
    "fell back": False,
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Runs against their baseline, cases and rules apart."""

    base: list[RunRow]
    runs: list[RunRow]
    cases: list[ItemDifference]
    rules: list[ItemDifference]

    @property
    def exit_status(self) -> int:
        """1 if something regressed, or is new and fails; 3 if the lab failed in a run."""
        if any(run.error for run in self.runs):
            return 3
        return int(any(one.change in BAD for one in (*self.cases, *self.rules)))

    @property
    def warnings(self) -> list[str]:
        """What must be known of the runs of both sides before a change means anything."""
        sides = [("baseline", run) for run in self.base] + [("run", run) for run in self.runs]
        return [
            f"the {side} {run.id}: {', '.join(said)}"
            for side, run in sides
            if (said := remarks(run.plant, run.error))
        ]

    def document(self) -> dict[str, Any]:
        """Its JSON, without what is the same."""
        return {
            "base": [run_document(run) for run in self.base],
            "runs": [run_document(run) for run in self.runs],
            "warnings": self.warnings,
            "cases": counts(self.cases),
            "rules": counts(self.rules),
            "changes": [
                _difference(one) for one in (*self.cases, *self.rules) if one.change != "same"
            ],
        }


def compared(session: Session, base: list[RunRow], runs: list[RunRow]) -> Comparison:
    """Compare runs with those that are their baseline.

    Raises UsageError when the two have no suite and profile in common.
    """
    common = {(run.suite, run.profile) for run in base} & {(run.suite, run.profile) for run in runs}
    if not common:
        raise UsageError(
            f"nothing to compare: {_what(base)} against {_what(runs)}",
            hint="name runs of the same suite and profile",
        )
    like_base = {one.id: one for run in base for one in alike(session, run, HISTORY)}
    # A run that is compared with an earlier one like it is no history of that one's.
    for run in runs:
        like_base.pop(run.id, None)
    cases_before, rules_before = _outcomes(session, list(like_base.values()))
    cases_now, rules_now = _outcomes(session, runs)
    cases = compare(cases_before, cases_now)
    return Comparison(base, runs, cases, compare(rules_before, rules_now))


def run_document(run: RunRow) -> dict[str, Any]:
    """A run in the JSON of the results' commands."""
    return {
        "run": run.id,
        "host": run.host,
        "suite": run.suite,
        "profile": run.profile,
        "kernel": run.kernel,
        "release": run.release,
        "qemu": run.qemu,
        "qemu_name": run.qemu_name,
        "accelerator": run.accelerator,
        "seconds": round(run.seconds, 3),
        "plant": run.plant or None,
        "error": run.error or None,
    }


def _outcomes(session: Session, runs: list[RunRow]) -> tuple[Outcomes, Outcomes]:
    """What came of the cases of these runs, and of the rules in them."""
    cases, rules = Outcomes(), Outcomes()
    of = {run.id: (run.suite, run.profile, run.host) for run in runs}
    for run, name, status, reason, judged in outcomes_of(session, list(of)):
        suite, profile, host = of[run]
        cases.add(Item(suite, profile, name), _PASSED[status], reason, host)
        for rule, evidence in judged.items():
            rules.add(Item(suite, profile, name, rule), not evidence, evidence, host)
    return cases, rules


def _difference(one: ItemDifference) -> dict[str, Any]:
    return {
        "change": one.change.value,
        "suite": one.item.suite,
        "profile": one.item.profile,
        "case": one.item.case,
        "rule": one.item.rule or None,
        "baseline": {"passed": one.baseline.passed, "ran": one.baseline.ran},
        "run": {"passed": one.tally.passed, "ran": one.tally.ran},
        "reason": one.reason,
        "hosts": one.hosts or None,
    }


def _what(runs: list[RunRow]) -> str:
    return ", ".join(sorted({f"{run.suite} on {run.profile}" for run in runs}))
