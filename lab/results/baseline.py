"""Comparing runs of the store: their outcomes, and those that tell how flaky the baseline is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from lab.errors import UsageError
from lab.results.compare import BAD, Difference, Item, Outcome, compare, counts
from lab.results.store.query import alike, cases_of
from lab.results.store.schema import CaseRow, RunRow

HISTORY = 20
"""Runs of the baseline, itself included, that tell how flaky it is."""

_PASSED = {"pass": True, "fail": False, "hung": False, "crashed": False, "notrun": None}


@dataclass(frozen=True)
class Comparison:
    """Runs against their baseline, cases and rules apart."""

    base: list[RunRow]
    runs: list[RunRow]
    cases: list[Difference]
    rules: list[Difference]

    @property
    def exit_status(self) -> int:
        """1 if something regressed, or is new and fails; 3 if the lab failed in a run."""
        if any(run.error for run in self.runs):
            return 3
        return int(any(one.change in BAD for one in (*self.cases, *self.rules)))

    def document(self) -> dict[str, Any]:
        """Its JSON, without what is the same."""
        return {
            "base": [run_document(run) for run in self.base],
            "runs": [run_document(run) for run in self.runs],
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
    before = _outcomes(session, list(like_base.values()))
    after = _outcomes(session, runs)
    cases = compare(_cases(before), _cases(after))
    rules = compare(_rules(before), _rules(after))
    return Comparison(base, runs, cases, rules)


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
        "accelerator": run.accelerator,
        "seconds": round(run.seconds, 3),
        "error": run.error or None,
    }


def _outcomes(session: Session, runs: list[RunRow]) -> list[tuple[RunRow, CaseRow]]:
    of = {run.id: run for run in runs}
    return [(of[case.run_id], case) for case in cases_of(session, list(of))]


def _cases(rows: Iterable[tuple[RunRow, CaseRow]]) -> Iterator[Outcome]:
    for run, case in rows:
        item = Item(run.suite, run.profile, case.name)
        yield Outcome(item, _PASSED[case.status], case.reason)


def _rules(rows: Iterable[tuple[RunRow, CaseRow]]) -> Iterator[Outcome]:
    for run, case in rows:
        for rule, evidence in case.rules.items():
            item = Item(run.suite, run.profile, case.name, rule)
            yield Outcome(item, not evidence, evidence)


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "change": one.change.value,
        "suite": one.item.suite,
        "profile": one.item.profile,
        "case": one.item.case,
        "rule": one.item.rule or None,
        "baseline": {"passed": one.baseline.passed, "ran": one.baseline.ran},
        "run": {"passed": one.tally.passed, "ran": one.tally.ran},
        "reason": one.reason,
    }


def _what(runs: list[RunRow]) -> str:
    return ", ".join(sorted({f"{run.suite} on {run.profile}" for run in runs}))
