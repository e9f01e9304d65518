# SPDX-License-Identifier: GPL-2.0-or-later
"""A case of an earlier run, carried out again: does it come to the same?

RUN:CASE names it.  CASE is the number in run.json, `NUMBER.min` for its minimised form, its name,
or POINT,ACTION where the run has just one such case.  RUN alone is its only case that failed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from lab.copy import paths, plant
from lab.copy.plant import Plant
from lab.errors import UsageError
from lab.profile.models import Profile
from lab.results import runs
from lab.results.runs import PastRun
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.report import Report
from lab.suites.copy_faults.run import carry_out
from lab.suites.copy_faults.sweep import Sweep
from lab.suites.watch import Watcher

NAME = "replay"

SHOWN = 9
"""Cases that failed, when there are several."""

_NUMBER = re.compile(r"(0|[1-9][0-9]{0,8})(\.min)?")


@dataclass(frozen=True)
class CaseOutcome:
    """What a case came to, as far as it must come again: its verdict and each rule's."""

    verdict: str
    rules: dict[str, str]

    @classmethod
    def of(cls, result: CaseResult) -> "CaseOutcome":
        """The outcome of a case that was just judged."""
        return cls(
            result.verdict, {rule: str(found.verdict) for rule, found in result.rules.items()}
        )

    def __str__(self) -> str:
        broken = [rule for rule, verdict in self.rules.items() if verdict == "violated"]
        return " ".join([self.verdict, *broken])


@dataclass(frozen=True)
class RecordedCase:
    """A case as an earlier run recorded it."""

    id: str
    """RUN:CASE, with the case's number."""
    profile: Profile
    setup: Setup
    plant: Plant
    hang_deadline: float
    outcome: CaseOutcome
    platform: dict[str, str]
    """Kernel, QEMU and accelerator of that run."""


@dataclass
class Replay:
    """A recorded case and the run that repeated it."""

    recorded: RecordedCase
    times: int
    report: Report

    @property
    def same(self) -> list[bool]:
        """For each repetition whether it came to what is recorded."""
        return [CaseOutcome.of(case.result) == self.recorded.outcome for case in self.report.cases]

    @property
    def exit_status(self) -> int:
        """0: the same each time; 1: not so; otherwise that of the lab's error."""
        if self.report.error:
            return self.report.error.exit_status
        return int(not all(self.same))

    def differences(self) -> list[str]:
        """What the case runs on now that it did not run on then."""
        now = {
            "kernel": self.report.kernel,
            "qemu": self.report.qemu,
            "accelerator": self.report.accelerator,
        }
        then = self.recorded.platform
        return [
            f"{what} was {then[what]}, is {value}"
            for what, value in now.items()
            if then[what] != value
        ]

    def document(self) -> dict[str, Any]:
        """Its JSON: the new run's, and how it compares."""
        return {
            "replay_of": self.recorded.id,
            "recorded": {
                "verdict": self.recorded.outcome.verdict,
                "rules": self.recorded.outcome.rules,
            },
            "same": self.same,
            "differences": self.differences(),
            **self.report.document(),
        }


def carry_out_again(recorded: RecordedCase, times: int, watcher: Watcher[CaseResult]) -> Replay:
    """Carry the case out `times` times in a guest of its own; raises as carry_out() does."""
    asked = {
        "mode": NAME,
        "of": recorded.id,
        "times": times,
        "hang_deadline": recorded.hang_deadline,
    }
    setup = recorded.setup

    def setups(_: Bench, expect: Callable[[int], None]) -> Iterator[tuple[int, Setup]]:
        expect(times)
        return enumerate(repeat(setup, times), 1)

    path = paths.find(recorded.profile, setup.path, setup.ref, fua=setup.fua)
    sweep = Sweep(
        recorded.profile, path, NAME, asked, setup, setups, recorded.plant, recorded.hang_deadline,
        rehearses=False,
    )  # fmt: skip
    return Replay(recorded, times, carry_out(sweep, watcher))


def case_of(text: str) -> RecordedCase:
    """The case that RUN:CASE names, or the one that failed in RUN.  Raises UsageError when there is
    none, or more than one."""
    run, _, wanted = text.partition(":")
    if not run:
        raise UsageError(
            f"{text!r}: expected RUN or RUN:CASE",
            hint="such as 20260131-093000-1a2b:17 or …:write:2,eio",
        )
    past = runs.load(run)
    return recorded(past, run, wanted) if wanted else case_of(_failed(past, run))


def _failed(past: PastRun, run: str) -> str:
    """RUN:CASE of the only case of a run that failed.  Raises UsageError, with those there are."""
    cases = past.document.get("cases", [])
    # A run that is made of others says which one had the case.
    found = [
        f"{case.get('run', run)}:{case['number']}{'.min' if 'minimised' in case else ''}"
        for case in cases
        if case.get("verdict") == "violated" and "number" in case
    ]
    if not found:
        raise UsageError(
            f"run {run}: no case failed that could be repeated",
            hint=f"name one of its {len(cases)}: lab replay {run}:CASE"
            if cases
            else _there_are([]),
        )
    if len(found) > 1:
        more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UsageError(
            f"run {run}: {len(found)} cases failed, which one?",
            hint=f"lab replay {found[0]}, or {', '.join(found[1:SHOWN])}{more}",
        )
    return found[0]


def recorded(past: PastRun, run: str, wanted: str) -> RecordedCase:
    """The case `wanted` of a run.  Raises UsageError when there is none that can be repeated."""
    try:
        case = case_named(past.document["cases"], run, wanted)
        minimal = ".min" if wanted.endswith(".min") else ""
        return RecordedCase(
            f"{run}:{case['number']}{minimal}",
            Profile.model_validate_json(past.profile),
            Setup.read(case),
            plant.find(past.document["plant"] or ""),
            past.document["options"]["hang_deadline"],
            CaseOutcome(
                case["verdict"], {rule: found["verdict"] for rule, found in case["rules"].items()}
            ),
            {what: past.document[what] for what in ("kernel", "qemu", "accelerator")},
        )
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise UsageError(
            f"run {run} does not say how to repeat {wanted}: {type(error).__name__} {error}",
            hint="an earlier version of the lab recorded it, or another suite: run it again",
        ) from error


def case_named(cases: list[dict[str, Any]], run: str, wanted: str) -> dict[str, Any]:
    """The case of that number or of that point and action.  Raises UsageError."""
    if number := _NUMBER.fullmatch(wanted):
        found = [case for case in cases if case["number"] == int(number[1])]
        if number[2]:
            found = [case["minimised"] for case in found if "minimised" in case]
    else:
        found = [
            case for case in cases if wanted in (case["name"], f"{case['point']},{case['action']}")
        ]
    if len(found) > 1:
        # Of a run that is made of others a number alone says too little.
        named = [f"{case['run']}:" if "run" in case else "" for case in found]
        numbers = ", ".join(
            f"{of}{case['number']}" for of, case in zip(named[:9], found[:9], strict=True)
        )
        raise UsageError(
            f"run {run} has {len(found)} cases {wanted}", hint=f"name one by number: {numbers}"
        )
    if not found:
        raise UsageError(f"run {run} has no case {wanted}", hint=_there_are(cases))
    return found[0]


def failing(cases: list[dict[str, Any]]) -> list[str]:
    """The numbers of the cases in which a rule was violated."""
    return [str(case["number"]) for case in cases if case.get("verdict") == "violated"]


def _there_are(cases: list[dict[str, Any]]) -> str:
    if not cases:
        return "it has none"
    numbers = [case["number"] for case in cases]
    return (
        f"cases are numbered from {min(numbers)} to {max(numbers)}; NUMBER.min only where one was "
        "minimised"
    )
