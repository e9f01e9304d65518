# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs that judge copies by the contract have found, rule by rule and path by path; pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
"""The JSON of a run, or of a case in it."""

BROKEN = "violated"


@dataclass(frozen=True)
class JudgedCopy:
    """One judged case, with the run that it is of."""

    run: str
    profile: str
    case: Document
    kernel: str = ""
    """By which it was asked for, where there are several; else ''."""

    @property
    def where(self) -> str:
        """The path, and what it was tried on."""
        place = f"{self.case['path']} on {self.profile} ({self.case['on']})"
        return f"{place}, {self.kernel}" if self.kernel else place

    @property
    def fault(self) -> str:
        """What was done to it."""
        return str(self.case["action"])

    @property
    def name(self) -> str:
        """By which `lab replay` finds it."""
        smaller = ".min" if self.case.get("minimised") else ""
        return f"{self.run}:{self.case['number']}{smaller}"

    @property
    def smallest(self) -> Document:
        """The smaller case that breaks the same rules, if one was looked for."""
        return self.case.get("minimised") or self.case

    @property
    def size(self) -> tuple[int, int, int]:
        """By which copies of the same finding are told from one another: sectors, ranges, and
        whether there was a fault at all."""
        sources = self.smallest["copy"]["sources"]
        sectors = sum(sectors for _, sectors in sources)
        return sectors, len(sources), self.fault not in ("rehearsal", "resume", "size")

    def ruling(self, rule: str) -> str:
        """What a rule came to."""
        return str(self.case["rules"][rule]["verdict"])


@dataclass(frozen=True)
class BrokenRule:
    """A rule that is broken on a path, in these copies of all that were judged there."""

    rule: str
    where: str
    copies: tuple[JudgedCopy, ...]
    judged: int

    @property
    def smallest(self) -> JudgedCopy:
        """The smallest of them."""
        return min(self.copies, key=lambda each: each.size)

    @property
    def evidence(self) -> str:
        """What was seen in the smallest."""
        return str(self.smallest.smallest["rules"][self.rule]["evidence"])

    @property
    def faults(self) -> dict[str, int]:
        """In how many copies, by what was done to them."""
        return dict(Counter(each.fault for each in self.copies))


def judged(documents: Iterable[Document]) -> list[JudgedCopy]:
    """Every judged case of these runs (their documents with `kernel_name`)."""
    runs = list(documents)
    several = len({document["kernel_name"] for document in runs}) > 1
    return [
        JudgedCopy(
            document["run"], document["profile"], case, document["kernel_name"] if several else ""
        )
        for document in runs
        for case in document["cases"]
        if "rules" in case
    ]


def findings(copies: Iterable[JudgedCopy]) -> list[BrokenRule]:
    """What is broken, the rules in the contract's order, and of each the path first on which most
    copies break it."""
    by_place: dict[str, list[JudgedCopy]] = {}
    for copy in copies:
        by_place.setdefault(copy.where, []).append(copy)
    found = [
        BrokenRule(rule, where, broken, len(there))
        for where, there in by_place.items()
        for rule in there[0].case["rules"]
        if (broken := tuple(each for each in there if each.ruling(rule) == BROKEN))
    ]
    order = {rule: at for at, rule in enumerate(_rules(by_place.values()))}
    return sorted(found, key=lambda each: (order[each.rule], -len(each.copies), each.where))


def cells(copies: Iterable[JudgedCopy]) -> dict[tuple[str, str], Counter[str]]:
    """By path and fault, how many copies came to which verdict."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for copy in copies:
        found.setdefault((copy.where, copy.fault), Counter())[copy.case["verdict"]] += 1
    return found


def kept(copies: Iterable[JudgedCopy]) -> dict[str, dict[str, tuple[int, int]]]:
    """By path and rule, in how many copies it was not broken, of those to which it applied."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for copy in copies:
        rules = found.setdefault(copy.where, {})
        for rule in copy.case["rules"]:
            ruling = copy.ruling(rule)
            held, all_ = rules.get(rule, (0, 0))
            if ruling != "n/a":
                rules[rule] = held + (ruling != BROKEN), all_ + 1
    return found


def _rules(groups: Iterable[list[JudgedCopy]]) -> Iterator[str]:
    """Every rule, in the order of the first case that has it."""
    yield from dict.fromkeys(
        rule for group in groups for copy in group for rule in copy.case["rules"]
    )
