# SPDX-License-Identifier: GPL-2.0-or-later
"""How many cases get a page, and how many of those pictures: pages of hundreds of runs must not
take minutes.

What did not pass comes first, then the cases of the runs that are named first.
"""

from collections.abc import Sequence
from typing import NamedTuple

PAGES = 600
"""Pages of cases that are written at once; other cases are on their run's page alone."""

DRAWN = 80
"""Of these, pages with pictures: one takes 20 ms; others have the map in text."""


class Allowance(NamedTuple):
    """Of a run: pages for so many cases that did not pass, and for so many others; and how many of
    each have pictures."""

    failing: int
    others: int
    failing_drawn: int
    others_drawn: int


def allowances(runs: Sequence[tuple[int, int]]) -> list[Allowance]:
    """What each run may have of all, given how many of its cases did not pass and how many did; the
    first runs are served first."""
    failing = _dealt([failed for failed, _ in runs], PAGES)
    others = _dealt([passed for _, passed in runs], PAGES - sum(failing))
    failing_drawn = _dealt(failing, DRAWN)
    others_drawn = _dealt(others, DRAWN - sum(failing_drawn))
    return [
        Allowance(*each) for each in zip(failing, others, failing_drawn, others_drawn, strict=True)
    ]


def _dealt(wanted: Sequence[int], there: int) -> list[int]:
    dealt = []
    for want in wanted:
        dealt.append(min(want, there))
        there -= dealt[-1]
    return dealt
