# SPDX-License-Identifier: GPL-2.0-or-later
"""A sector map as a case's document tells of it.

Addresses and lengths are in sectors of 512 bytes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NEW, OLD, TORN, FOREIGN, UNREADABLE = "new", "old", "torn", "foreign", "unreadable"
"""What a sector can be."""

STATES = (NEW, OLD, TORN, FOREIGN, UNREADABLE)
"""From what a copy is for to what nobody may leave behind."""

WORDS = {
    NEW: "the source's data",
    OLD: "what was there before",
    TORN: "part old and part new",
    FOREIGN: "neither: another sector's data, or none at all",
    UNREADABLE: "cannot be read",
}
"""The states in words."""

_RUN = re.compile(r"(\d+) (\w+)")
_EXTENT = re.compile(r"(\d+)\+(\d+) (\w+)")


class SectorRun(NamedTuple):
    """A run of sectors."""

    start: int
    sectors: int

    @property
    def end(self) -> int:
        """The first sector behind it."""
        return self.start + self.sectors

    def __str__(self) -> str:
        return f"{self.start}+{self.sectors}"


@dataclass(frozen=True)
class SeenSectors:
    """What was seen of the window once: a state for each destination sector, in order; those
    outside that changed, with theirs; and what some hold, in words."""

    destination: tuple[str, ...]
    changed: Mapping[int, str] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)

    def summary(self) -> str:
        """Sectors by state, as `64 new, 192 old; 8 changed outside`."""
        found = [f"{count} {state}" for state in STATES if (count := self.destination.count(state))]
        outside = f"; {len(self.changed)} changed outside" if self.changed else ""
        return ", ".join(found) + outside


@dataclass(frozen=True)
class SectorMap:
    """A copy, the window that was looked at, where it was struck, and what was seen.

    `struck`: the sectors of the request at the point, None where that is not known; `damaged`:
    those that the lab itself harmed; `recovered`: None where an older lab recorded the case, or
    the copy that followed was another one.
    """

    sources: tuple[SectorRun, ...]
    destination: int
    window: SectorRun
    unit: int
    copied: SeenSectors
    recovered: SeenSectors | None
    struck: SectorRun | None = None
    damaged: tuple[int, ...] = ()

    @property
    def target(self) -> SectorRun:
        """The whole destination."""
        return SectorRun(self.destination, sum(source.sectors for source in self.sources))

    def pieces(self) -> Iterator[tuple[SectorRun, SectorRun]]:
        """Each source range with the part of the destination that it fills."""
        at = self.destination
        for source in self.sources:
            yield source, SectorRun(at, source.sectors)
            at += source.sectors


def sector_map(case: Mapping[str, Any]) -> SectorMap | None:
    """The map of a case from its document; None where that has none.

    Of a case that an older lab recorded only the destination is known.
    """
    try:
        sources = tuple(SectorRun(*source) for source in case["copy"]["sources"])
        outcome, told = case["outcome"], case.get("sectors", {})
        copied = _seen(told.get("copied") or {"destination": outcome["destination"]})
        recovered = told.get("recovered")
        struck = told.get("struck")
        found = SectorMap(
            sources=sources,
            destination=int(case["copy"]["destination"]),
            window=SectorRun(*case["window"]),
            unit=int(case["copy"]["unit"]),
            copied=copied,
            recovered=_seen(recovered) if recovered else None,
            struck=SectorRun(*struck) if struck else None,
            damaged=(*outcome.get("corrupted", ()), *outcome.get("lost", ())),
        )
    except (KeyError, TypeError, ValueError):
        return None
    whole = found.target.sectors
    seen = [each for each in (found.copied, found.recovered) if each]
    return found if all(len(each.destination) == whole for each in seen) else None


def _seen(document: Mapping[str, Any]) -> SeenSectors:
    states = tuple(
        state for length, state in _RUN.findall(document["destination"]) for _ in range(int(length))
    )
    changed = {
        int(start) + at: state
        for start, length, state in _EXTENT.findall(document.get("changed", ""))
        for at in range(int(length))
    }
    notes = {int(at): str(note) for at, note in document.get("notes", {}).items()}
    return SeenSectors(states, changed, notes)
