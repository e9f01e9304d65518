# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs against their baseline: what counts as a change, and what flakiness explains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.results.compare import BAD, ChangeKind, Item, Outcomes, compare, counts, judge, tail
from lab.results.tally import Tally

CASE = Item("fstests", "loop-xfs", "generic/430")


def outcomes(*added: tuple[Item, bool | None, str]) -> Outcomes:
    found = Outcomes()
    for item, passed, reason in added:
        found.add(item, passed, reason)
    return found


@pytest.mark.parametrize(
    ("base", "run", "change"),
    [
        (Tally(1, 1), Tally(1, 1), ChangeKind.SAME),
        (Tally(1, 1), Tally(0, 1), ChangeKind.REGRESSED),
        (Tally(9, 9), Tally(2, 3), ChangeKind.REGRESSED),
        (Tally(0, 1), Tally(1, 1), ChangeKind.FIXED),
        (Tally(0, 4), Tally(0, 1), ChangeKind.STILL_FAILING),
        # One failure is what a case that fails one time in ten does; three in a row are not.
        (Tally(9, 10), Tally(0, 1), ChangeKind.FLAKY),
        (Tally(9, 10), Tally(0, 3), ChangeKind.REGRESSED),
        (Tally(1, 10), Tally(1, 1), ChangeKind.SAME),
        (Tally(1, 10), Tally(3, 3), ChangeKind.FIXED),
        (Tally(5, 10), Tally(0, 1), ChangeKind.FLAKY),
        (None, Tally(1, 1), ChangeKind.NEW),
        (None, Tally(1, 2), ChangeKind.NEW),
        (None, Tally(0, 1), ChangeKind.NEW_FAILING),
        # It was known, and declined to run, which is no baseline.
        (Tally(0, 0), Tally(0, 1), ChangeKind.NEW_FAILING),
        (Tally(1, 1), None, ChangeKind.NOT_RUN),
        (Tally(1, 1), Tally(0, 0), ChangeKind.NOT_RUN),
        (Tally(0, 0), Tally(0, 0), ChangeKind.SAME),
    ],
)
def test_changes(base: Tally | None, run: Tally | None, change: ChangeKind) -> None:
    assert judge(base, run) is change


TALLIES = st.integers(1, 12).flatmap(
    lambda ran: st.integers(0, ran).map(lambda passed: Tally(passed, ran))
)


@given(TALLIES)
def test_a_run_like_its_baseline_never_regresses(tally: Tally) -> None:
    assert judge(tally, tally) not in BAD | {ChangeKind.FIXED}


@given(TALLIES, TALLIES)
def test_a_regression_seen_the_other_way_round_is_no_regression(base: Tally, run: Tally) -> None:
    if judge(base, run) is ChangeKind.REGRESSED:
        assert judge(run, base) is not ChangeKind.REGRESSED


@given(st.integers(0, 10), st.floats(0, 1))
def test_probabilities(tries: int, rate: float) -> None:
    assert tail(0, tries, rate) == pytest.approx(1)
    for hits in range(1, tries + 1):
        assert -1e-9 <= tail(hits, tries, rate) <= tail(hits - 1, tries, rate) + 1e-9


def test_outcomes_are_added_up_and_the_worst_comes_first() -> None:
    other = Item("fstests", "loop-xfs", "generic/431")
    base = outcomes((CASE, True, ""), (CASE, True, ""), (other, False, ""))
    run = outcomes((other, True, ""), (CASE, False, "output mismatch"), (CASE, True, ""))
    first, second = compare(base, run)
    assert (first.item, first.change, str(first.baseline), str(first.tally), first.reason) == (
        CASE, ChangeKind.REGRESSED, "2 of 2", "1 of 2", "output mismatch",
    )  # fmt: skip
    assert (second.item, second.change) == (other, ChangeKind.FIXED)
    assert counts([first, second]) == {"regressed": 1, "fixed": 1}


def test_a_case_that_declined_to_run_is_not_a_failure() -> None:
    (found,) = compare(outcomes((CASE, True, "")), outcomes((CASE, None, "no reflink")))
    assert (found.change, str(found.tally)) == (ChangeKind.NOT_RUN, "-")


@pytest.mark.parametrize(
    ("base", "run", "change", "hosts"),
    [
        # What fails on one host alone says something of that host,
        ("a+ b+ a+ b+", "a+ b+ c-", ChangeKind.FLAKY, "failed on c alone, passed on a, b"),
        # even if it has failed there before: that is in the baseline's rate.
        ("a+ b+ a+ b+ c-", "a+ b+ c-", ChangeKind.FLAKY, "failed on c alone, passed on a, b"),
        # unless the baseline passes on that very host.
        ("a+ b+ c+ c+", "a+ b+ c-", ChangeKind.REGRESSED, "failed on c alone, passed on a, b"),
        # Who has run on one host only cannot tell.
        ("a+ a+", "b- b-", ChangeKind.REGRESSED, "failed on b, where the baseline never ran"),
        ("a+ a+", "a-", ChangeKind.REGRESSED, ""),
        ("a+ b+", "a- b-", ChangeKind.REGRESSED, ""),
        ("a+ b+", "a+ b+", ChangeKind.SAME, ""),
        ("", "a-", ChangeKind.NEW_FAILING, ""),
    ],
)
def test_hosts_are_a_source_of_flakiness(
    base: str, run: str, change: ChangeKind, hosts: str
) -> None:
    (found,) = compare(on_hosts(base), on_hosts(run))
    assert (found.change, found.hosts) == (change, hosts)


def on_hosts(words: str) -> Outcomes:
    """`a+` is a pass on host a."""
    found = Outcomes()
    for word in words.split():
        found.add(CASE, word.endswith("+"), host=word[:-1])
    return found
