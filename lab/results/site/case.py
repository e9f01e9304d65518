# SPDX-License-Identifier: GPL-2.0-or-later
"""What the page of a case shows: its map, the rules that it broke with the sectors, its lanes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from lab.results.rules import WORDS, offending
from lab.results.sectors.model import SectorMap, SectorRun, sector_map
from lab.results.sectors.text import case_map, extents
from lab.results.site.draw import sectors
from lab.results.site.draw.lanes import picture as lane_picture
from lab.results.site.lanes import lanes
from lab.results.site.timeline import Event

SHOWN = 12
"""Stretches of sectors that are listed of a rule."""


class CaseKey(NamedTuple):
    """The run that carried a case out, and the case's number there."""

    run: str
    number: int

    @property
    def page(self) -> str:
        """The name of its page."""
        return f"{self.run}.{self.number}.html"

    def __str__(self) -> str:
        return f"{self.run}:{self.number}"


def key(run: str, case: Mapping[str, Any]) -> CaseKey | None:
    """The key of a case by its document, in a run that may be made of others; None for a case that
    no number names."""
    return CaseKey(str(case.get("run", run)), int(case["number"])) if "number" in case else None


@dataclass(frozen=True)
class RuleShown:
    """A rule in a case: the verdict with its evidence, what must hold, and the sectors that break
    it; `more` of their stretches are not listed."""

    rule: str
    verdict: str
    evidence: str
    words: str
    sectors: tuple[SectorRun, ...] = ()
    more: int = 0


@dataclass(frozen=True)
class DumpShown:
    """A dump on a page: of which case, as `lab drgn` takes it, why it was taken, and the report."""

    case: str
    why: str
    report: str


@dataclass(frozen=True)
class CaseShown:
    """A case on its page; the pictures are empty where it is told in text alone."""

    key: CaseKey
    name: str
    status: str
    document: Mapping[str, Any]
    rules: tuple[RuleShown, ...]
    map: SectorMap | None
    copied: Markup
    recovered: Markup
    lanes: Markup
    events: tuple[Event, ...]
    minimised: Markup
    dumps: tuple[DumpShown, ...] = ()

    @property
    def text(self) -> str:
        """The map in text."""
        return "\n".join(case_map(self.document))


def shown(
    of: CaseKey, name: str, status: str, case: Mapping[str, Any], events: Iterable[Event], *,
    drawn: bool, dumps: Sequence[DumpShown] = (),
) -> CaseShown:  # fmt: skip
    """What a case's page shows; with pictures if it is to be drawn."""
    found, told = sector_map(case), tuple(events)
    nothing = Markup()
    copied = recovered = swum = smaller = nothing
    if drawn:
        swum = lane_picture(lanes(told))
        if found:
            copied, recovered = sectors.copied(found), sectors.recovered(found)
        if small := sector_map(case.get("minimised", {})):
            smaller = sectors.copied(small)
    return CaseShown(
        of, name, status, case, tuple(_rules(case, found)), found, copied, recovered,
        swum, told, smaller, tuple(dumps),
    )  # fmt: skip


def _rules(case: Mapping[str, Any], found: SectorMap | None) -> Iterable[RuleShown]:
    """Those that are violated first, then those that say something, as the contract has them."""
    rules = case.get("rules", {})
    order: Sequence[str] = ("violated", "fell back", "caught", "holds", "n/a")
    ranked = sorted(
        rules, key=lambda rule: order.index(rules[rule]["verdict"])
        if rules[rule]["verdict"] in order else len(order),
    )  # fmt: skip
    told = case.get("outcome", {}).get("completion") or {}
    for rule in ranked:
        verdict = str(rules[rule]["verdict"])
        bad: list[SectorRun] = []
        if found and verdict in ("violated", "caught"):
            bad = extents(offending(rule, found, int(told.get("dw0") or 0)))
        yield RuleShown(
            rule, verdict, str(rules[rule]["evidence"]), WORDS.get(rule, ""),
            tuple(bad[:SHOWN]), max(0, len(bad) - SHOWN),
        )  # fmt: skip
