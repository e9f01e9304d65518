# SPDX-License-Identifier: GPL-2.0-or-later
"""Where offload paths differ from the reference model, rule by rule and situation by situation.

Pure: from the judged cases of each path to a matrix and its differences.  Points of different paths
cannot be compared one by one, since a reflink has other reads and writes than an NVMe Copy; what is
compared is a **situation**, a stage and an action such as `write eio`, over all its points.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lab.copy.contract import RULES, Ruling
from lab.copy.model import OR
from lab.faults.actions import Action
from lab.faults.model import Stage

ERROR_CLASS = "ERROR-CLASS"

_SEVERITY = (
    Ruling.NOT_APPLICABLE, Ruling.HOLDS, Ruling.CAUGHT, Ruling.FELL_BACK, Ruling.VIOLATED,
)  # fmt: skip

_TELLING = (Ruling.VIOLATED, Ruling.FELL_BACK)
"""What both must come to, if either does; all else is as good as the other."""


@dataclass(frozen=True)
class Situation:
    """What was done at which stage, or how the size of a copy lay to a limit of its device."""

    stage: Stage
    action: Action
    size: str = ""

    def __str__(self) -> str:
        return self.size or f"{self.stage} {self.action}"


@dataclass(frozen=True)
class CaseRuling:
    """What a rule came to in a case, and where that can be looked up: RUN:NUMBER."""

    ruling: Ruling
    evidence: str
    case: str


@dataclass(frozen=True)
class ObservedCase:
    """A judged case as it is compared: `rules` by id; `error`, what its caller was told after the
    medium had failed, '' where that was nothing; `misnamed`, what is wrong with that where a
    specification says which error it must be; `exercised`, whether it came to its point."""

    path: str
    situation: Situation
    rules: Mapping[str, CaseRuling]
    error: str = ""
    misnamed: str = ""
    exercised: bool = True


@dataclass(frozen=True)
class RuleDifference:
    """A rule that a path keeps otherwise than the reference does.

    `reference` is None where the reference never came into that situation.
    """

    path: str
    rule: str
    situation: Situation
    here: CaseRuling
    reference: CaseRuling | None


Matrix = dict[str, dict[Situation, dict[str, CaseRuling]]]
"""The worst ruling by path, situation and rule."""


def matrix(observed: Iterable[ObservedCase]) -> Matrix:
    """The worst that each rule came to, with the evidence of the first such case."""
    found: Matrix = {}
    for case in observed:
        if not case.exercised:
            continue
        row = found.setdefault(case.path, {}).setdefault(case.situation, {})
        for rule, ruled in case.rules.items():
            if rule not in row or _worse(ruled, row[rule]):
                row[rule] = ruled
    return found


def _worse(one: CaseRuling, other: CaseRuling) -> bool:
    return _SEVERITY.index(one.ruling) > _SEVERITY.index(other.ruling)


def differences(observed: Iterable[ObservedCase], reference: str) -> list[RuleDifference]:
    """Every rule that one of the paths violates, or falls back from, and the reference does not, or
    the other way round; every error that the reference never gives in the same situation; and every
    status that is not the one that a specification asks for."""
    cases = list(observed)
    cells = matrix(cases)
    model = cells.get(reference, {})
    found: list[RuleDifference] = []
    for path, rows in cells.items():
        if path == reference:
            continue
        for situation, row in rows.items():
            found += _violations(path, situation, row, model.get(situation))
            errors = list(_errors(path, situation, cases, reference))
            found += errors or _statuses(path, situation, cases, model.get(situation))
    return found


def _violations(
    path: str,
    situation: Situation,
    row: Mapping[str, CaseRuling],
    model: Mapping[str, CaseRuling] | None,
) -> Iterator[RuleDifference]:
    for rule in RULES:
        if rule not in row:
            continue
        here, there = row[rule], model.get(rule) if model else None
        if _telling(here) != _telling(there):
            yield RuleDifference(path, rule, situation, here, there)


def _telling(ruled: CaseRuling | None) -> Ruling | None:
    return ruled.ruling if ruled and ruled.ruling in _TELLING else None


def _errors(
    path: str, situation: Situation, cases: Iterable[ObservedCase], reference: str
) -> Iterator[RuleDifference]:
    """The errors of a path that the reference does not give, if it gives any.  One that can be
    either of two is no difference if the reference gives one of them."""
    first: dict[str, dict[str, ObservedCase]] = {path: {}, reference: {}}
    for case in cases:
        if case.exercised and case.situation == situation and case.path in first and case.error:
            first[case.path].setdefault(case.error, case)
    mine, model = first[path], first[reference]
    if not model:
        return
    expected = ", ".join(model)
    there = next(iter(model.values())).rules[ERROR_CLASS].case
    told = {name for error in model for name in error.split(OR)}
    for error in sorted(mine):
        if not told.isdisjoint(error.split(OR)):
            continue
        where = mine[error].rules[ERROR_CLASS].case
        here = CaseRuling(Ruling.VIOLATED, f"the caller is told {error}{_doubt(error)}", where)
        model_says = CaseRuling(Ruling.HOLDS, f"the caller is told {expected}", there)
        yield RuleDifference(path, ERROR_CLASS, situation, here, model_says)


def _doubt(error: str) -> str:
    """Why it is not known which of two errnos it is; '' where it is one."""
    return " (not tried: this kernel has no NVMe fault injection)" if OR in error else ""


def _statuses(
    path: str,
    situation: Situation,
    cases: Iterable[ObservedCase],
    model: Mapping[str, CaseRuling] | None,
) -> Iterator[RuleDifference]:
    """The first error of a path that tells users of the block layer what the reference tells them,
    and those who see the status something else than what happened."""
    for case in cases:
        here = (case.path, case.situation) == (path, situation) and case.exercised
        if here and case.misnamed:
            ruled = CaseRuling(Ruling.VIOLATED, case.misnamed, case.rules[ERROR_CLASS].case)
            yield RuleDifference(
                path, ERROR_CLASS, situation, ruled, model.get(ERROR_CLASS) if model else None
            )
            return
