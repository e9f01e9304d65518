# SPDX-License-Identifier: GPL-2.0-or-later
"""What is new in a night: a sentence for each thing that became worse, for page and mail."""

from collections.abc import Mapping
from dataclasses import dataclass

from lab.results.baseline import Comparison
from lab.results.compare import BAD, ChangeKind, Item, ItemDifference
from lab.results.rules import WORDS
from lab.results.store.schema import NightRow

QUOTED = 160
"""Characters of a reason in a sentence."""


@dataclass(frozen=True)
class Night:
    """A night with its comparisons by kernel, and those of the night before it."""

    row: NightRow
    found: Mapping[str, Comparison]
    before: Mapping[str, Comparison]

    def news(self) -> list[tuple[str, ItemDifference]]:
        """What is worse than the baseline and was not so the night before, by kernel."""
        return [
            (kernel, one)
            for kernel, comparison in self.found.items()
            for one in bad(comparison)
            if one.item not in {old.item for old in bad(self.before.get(kernel))}
        ]

    def failed(self) -> int:
        """In how many runs the lab failed."""
        return sum(bool(job.said) for job in self.row.jobs)

    def headline(self) -> str:
        """The night in a sentence."""
        news = len(self.news())
        if news:
            what = "thing is" if news == 1 else "things are"
            return f"New: {news} {what} worse than the baseline"
        if failed := self.failed():
            return (
                f"Nothing new where the lab worked; it failed in {failed} of "
                f"{len(self.row.jobs)} runs"
            )
        if self.found:
            return (
                "Nothing new: no kernel or QEMU is worse than the baseline in anything it was not "
                "worse in the night before"
            )
        return "Nothing to compare: no two kernels or QEMUs came to the end of a run"


def bad(comparison: Comparison | None) -> list[ItemDifference]:
    """Cases that are worse than the baseline, and rules of cases that are not told as such."""
    if comparison is None:
        return []
    cases = [one for one in comparison.cases if one.change in BAD]
    told = {_whole(one.item) for one in cases}
    rules = [one for one in comparison.rules if one.change in BAD]
    return cases + [one for one in rules if _whole(one.item) not in told]


def _whole(item: Item) -> Item:
    return Item(item.suite, item.profile, item.case)


def sentence(kernel: str, one: ItemDifference) -> str:
    """What became worse, with what it was before and why."""
    item = one.item
    where = f"{item.case} of {item.suite} on {item.profile}"
    if item.rule:
        must = f" ({WORDS[item.rule]})" if item.rule in WORDS else ""
        what = f"breaks {item.rule}{must} in {where}"
    else:
        what = f"fails {where}"
    if one.change is ChangeKind.NEW_FAILING:
        before = "which the baseline does not know"
    else:
        before = f"which passed {one.baseline} times before"
    now = f", and {one.tally} times now" if one.tally.ran > 1 else ""
    return f"{kernel} {what}, {before}{now}{_why(one.reason)}."


def _why(reason: str) -> str:
    first = reason.splitlines()[0].rstrip(".") if reason else ""
    short = first if len(first) <= QUOTED else first[: QUOTED - 1] + "…"
    return f": {short}" if short else ""
