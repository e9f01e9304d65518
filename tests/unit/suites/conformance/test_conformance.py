# SPDX-License-Identifier: GPL-2.0-or-later
"""Differences from the reference model: found by rule and situation, whatever comes first."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.contract import RULES, Ruling
from lab.faults.model import Stage
from lab.suites.conformance.matrix import (
    CaseRuling,
    Matrix,
    ObservedCase,
    RuleDifference,
    Situation,
    differences,
    matrix,
)
from lab.suites.copy_faults.acts.registry import action_called

HOLDS, VIOLATED, CAUGHT, FELL_BACK, NOT_APPLICABLE = (
    Ruling.HOLDS, Ruling.VIOLATED, Ruling.CAUGHT, Ruling.FELL_BACK, Ruling.NOT_APPLICABLE
)  # fmt: skip
WRITE_EIO, READ_EIO = (
    Situation(Stage.WRITE, action_called("eio")),
    Situation(Stage.READ, action_called("eio")),
)
MODEL, OTHER = "loop-reflink", "nvme-copy"


def observed(
    path: str = OTHER,
    situation: Situation = WRITE_EIO,
    error: str = "",
    case: str = "run:1",
    **rulings: Ruling,
) -> ObservedCase:
    """A case in which all rules hold but those named, such as NO_FOREIGN."""
    named = {rule.replace("_", "-"): ruling for rule, ruling in rulings.items()}
    rules = {rule: CaseRuling(named.get(rule, HOLDS), f"{rule} of {case}", case) for rule in RULES}
    return ObservedCase(path, situation, rules, error)


CASES = st.lists(
    st.builds(
        lambda exercised, made: replace(made, exercised=exercised),
        st.booleans(),
        st.builds(
            observed,
            st.sampled_from([MODEL, OTHER, "zns-copy"]),
            st.sampled_from([WRITE_EIO, READ_EIO]),
            st.sampled_from(["", "EIO", "ENODATA", "ENOSPC"]),
            st.from_regex(r"run:[1-9]", fullmatch=True),
            SOURCE=st.sampled_from(Ruling),
            RECOVERS=st.sampled_from(Ruling),
        ),
    ),
    max_size=12,
)


def named(found: Sequence[RuleDifference]) -> set[tuple[str, str, Situation, str]]:
    """Which differences these are: an error is told apart by the evidence."""
    return {
        (
            each.path,
            each.rule,
            each.situation,
            each.here.evidence if each.rule == "ERROR-CLASS" else "",
        )
        for each in found
    }


def worst(cells: Matrix) -> dict[tuple[str, Situation, str], Ruling]:
    """The rulings of a matrix."""
    return {
        (path, situation, rule): ruled.ruling
        for path, rows in cells.items()
        for situation, row in rows.items()
        for rule, ruled in row.items()
    }


@pytest.mark.parametrize(
    ("rulings", "expected"),
    [
        ((HOLDS, VIOLATED), VIOLATED),
        ((VIOLATED, HOLDS), VIOLATED),
        ((NOT_APPLICABLE, HOLDS), HOLDS),
        ((HOLDS, NOT_APPLICABLE), HOLDS),
        ((CAUGHT, HOLDS), CAUGHT),
        ((CAUGHT, VIOLATED), VIOLATED),
        ((HOLDS, FELL_BACK), FELL_BACK),
        ((FELL_BACK, VIOLATED), VIOLATED),
    ],
)
def test_the_worst_ruling_of_a_situation_stands(
    rulings: tuple[Ruling, ...], expected: Ruling
) -> None:
    cells = matrix(observed(SOURCE=ruling) for ruling in rulings)
    assert cells[OTHER][WRITE_EIO]["SOURCE"].ruling is expected


def test_the_first_of_the_worst_cases_is_quoted() -> None:
    rulings = ((1, HOLDS), (2, VIOLATED), (3, VIOLATED))
    cells = matrix(observed(case=f"run:{number}", SOURCE=ruling) for number, ruling in rulings)
    assert cells[OTHER][WRITE_EIO]["SOURCE"] == CaseRuling(VIOLATED, "SOURCE of run:2", "run:2")


def test_what_was_not_exercised_proves_nothing() -> None:
    case = replace(observed(SOURCE=VIOLATED, error="ENODATA"), exercised=False)
    assert matrix([case]) == {}
    model = observed(MODEL, error="EIO")
    assert differences([model, case], MODEL) == []
    # Nor does the error of such a case count where others of its kind were exercised.
    assert differences([model, case, observed(error="EIO")], MODEL) == []
    untold = replace(model, exercised=False)
    assert differences([untold, observed(error="ENODATA")], MODEL) == []


@pytest.mark.parametrize(
    ("here", "there", "differs"),
    [
        (VIOLATED, HOLDS, True),
        (VIOLATED, NOT_APPLICABLE, True),
        (HOLDS, VIOLATED, True),
        (NOT_APPLICABLE, VIOLATED, True),
        (VIOLATED, VIOLATED, False),
        (HOLDS, NOT_APPLICABLE, False),
        (CAUGHT, HOLDS, False),
        # A caller that is served by reads and writes is not told what the reference tells.
        (FELL_BACK, HOLDS, True),
        (HOLDS, FELL_BACK, True),
        (FELL_BACK, VIOLATED, True),
        (FELL_BACK, FELL_BACK, False),
    ],
)
def test_a_rule_that_only_one_of_both_violates_is_a_difference(
    here: Ruling, there: Ruling, differs: bool
) -> None:
    found = differences([observed(MODEL, SOURCE=there), observed(SOURCE=here)], MODEL)
    assert [each.rule for each in found] == ["SOURCE"] * differs
    for each in found:
        assert (each.path, each.situation) == (OTHER, WRITE_EIO)
        assert each.here.ruling is here
        assert each.reference and each.reference.ruling is there


def test_a_situation_that_the_reference_never_comes_into_is_judged_by_the_contract_alone() -> None:
    model = observed(MODEL, WRITE_EIO, error="EIO")
    (found,) = differences(
        [model, observed(situation=READ_EIO, error="ENODATA", SOURCE=VIOLATED)], MODEL
    )
    assert (found.rule, found.reference) == ("SOURCE", None)
    assert differences([model, observed(situation=READ_EIO, error="ENODATA")], MODEL) == []


def test_an_error_that_the_reference_never_gives_is_a_difference() -> None:
    model = [observed(MODEL, error=error, case=f"m:{error}") for error in ("EIO", "ENOSPC")]
    mine = [observed(error=error, case=f"o:{error}") for error in ("EIO", "ENODATA", "EREMOTEIO")]
    found = differences([*model, *mine], MODEL)
    assert [each.rule for each in found] == ["ERROR-CLASS"] * 2
    assert [each.here.evidence for each in found] == [
        "the caller is told ENODATA", "the caller is told EREMOTEIO",
    ]  # fmt: skip
    assert [each.here.case for each in found] == ["o:ENODATA", "o:EREMOTEIO"]
    assert {each.reference for each in found} == {
        CaseRuling(HOLDS, "the caller is told EIO, ENOSPC", "m:EIO")
    }


def test_a_status_that_is_not_the_one_that_was_specified_is_a_difference() -> None:
    wrong = replace(observed(error="EIO", case="o:2"), misnamed="status 0x6, not 0x280")
    model = observed(MODEL, error="EIO", case="m:1")
    unexercised = replace(wrong, exercised=False)
    right = observed(error="EIO", case="o:1")
    (found,) = differences([model, right, unexercised, wrong], MODEL)
    assert found.here == CaseRuling(VIOLATED, "status 0x6, not 0x280", "o:2")
    assert (found.rule, found.situation) == ("ERROR-CLASS", WRITE_EIO)
    assert found.reference == model.rules["ERROR-CLASS"]
    # Where the reference never comes it is judged all the same.
    (found,) = differences([replace(wrong, situation=READ_EIO)], MODEL)
    assert found.reference is None
    # What callers of the block layer see as well is told once.
    (found,) = differences([model, replace(wrong, error="ENODATA")], MODEL)
    assert found.here.evidence == "the caller is told ENODATA"


def test_fewer_errors_than_the_reference_gives_are_no_difference() -> None:
    model = [observed(MODEL, error=error) for error in ("EIO", "ENOSPC")]
    assert differences([*model, observed(error="EIO"), observed()], MODEL) == []
    # A reference that gives no error at all says nothing of which is right.
    assert differences([observed(MODEL), observed(error="ENODATA")], MODEL) == []


@given(CASES)
def test_a_path_does_not_differ_from_itself(cases: list[ObservedCase]) -> None:
    model = [case for case in cases if case.path == MODEL]
    assert differences(model, MODEL) == []
    twin = [replace(case, path="twin") for case in model]
    assert differences(model + twin, MODEL) == []


@given(CASES, st.randoms())
def test_the_order_of_cases_changes_no_ruling_and_no_difference(
    cases: list[ObservedCase], dice: Random
) -> None:
    mixed = list(cases)
    dice.shuffle(mixed)
    assert worst(matrix(mixed)) == worst(matrix(cases))
    assert named(differences(mixed, MODEL)) == named(differences(cases, MODEL))


@given(CASES)
def test_every_difference_leads_to_a_case_in_which_it_was_seen(cases: list[ObservedCase]) -> None:
    exercised = [case for case in cases if case.exercised]
    for found in differences(cases, MODEL):
        seen = [
            case for case in exercised
            if (case.path, case.situation) == (found.path, found.situation)
        ]  # fmt: skip
        assert found.here.case in {case.rules[found.rule].case for case in seen}
        assert found.path != MODEL


@pytest.mark.parametrize(
    ("error", "reference", "differs"),
    [
        ("EIO or EOPNOTSUPP", "EIO", False),
        ("EIO or EOPNOTSUPP", "EOPNOTSUPP", False),
        ("EOPNOTSUPP", "EIO or EOPNOTSUPP", False),
        ("EIO or EOPNOTSUPP", "ENOSPC", True),
        ("ENOSPC", "EIO or EOPNOTSUPP", True),
    ],
)
def test_an_errno_that_was_not_tried_is_no_difference_where_it_can_be_the_references(
    error: str, reference: str, differs: bool
) -> None:
    cases = [observed(error=error), observed(MODEL, error=reference)]
    found = differences(cases, MODEL)
    assert bool(found) == differs
    untried = "(not tried: this kernel has no NVMe fault injection)"
    assert [untried in each.here.evidence for each in found] == [" or " in error] * len(found)
