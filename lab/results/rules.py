# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of the contract in words, for whoever has not read docs/contract.md, and which sectors
of a map break one."""

from lab.results.sectors.model import FOREIGN, NEW, TORN, UNREADABLE, SectorMap, SeenSectors

WORDS = {
    "COMPLETE": "after success every destination sector has the source's data",
    "PREFIX": "the ranges that a failed copy reports as done are copied",
    "NO-FOREIGN": "every destination sector is old or new as a whole",
    "SOURCE": "the source is unchanged",
    "NEIGHBOUR": "what lies beside the destination is unchanged",
    "SIGNALLED": "an error of the medium reaches the caller",
    "ERROR-CLASS": "the error is one that fits what happened",
    "DURABLE": "what was copied and flushed survives the end of the guest",
    "RECOVERS": "once the fault is gone the same copy succeeds",
    "NO-HANG": "the copy ends in time, and nothing hangs or crashes",
    "OFFLOADED": "the copy is made below its caller",
    "COHERENT": "the copy and the page cache agree",
    "LIMITS": "a copy within the device's limits is carried out, one above them refused",
}
"""What must hold, by rule."""


def offending(rule: str, of: SectorMap, ranges_done: int) -> list[int]:
    """The sectors that break a rule; none for a rule that is not about sectors.

    `ranges_done`: how many ranges the caller was told to be done.
    """
    seen, outside = of.copied, sorted(of.copied.changed)
    sources = {at for source in of.sources for at in range(source.start, source.end)}
    if rule in ("COMPLETE", "DURABLE"):
        return _not_in(of, seen, (NEW,))
    if rule == "PREFIX":
        done = sum(source.sectors for source in of.sources[:ranges_done])
        return [at for at in _not_in(of, seen, (NEW,)) if at < of.destination + done]
    if rule == "NO-FOREIGN":
        return _in(of, seen, (TORN, FOREIGN, UNREADABLE))
    if rule == "SOURCE":
        return [at for at in outside if at in sources]
    if rule == "NEIGHBOUR":
        return [at for at in outside if at not in sources]
    if rule == "RECOVERS" and of.recovered:
        return [*_not_in(of, of.recovered, (NEW,)), *sorted(of.recovered.changed)]
    return []


def _in(of: SectorMap, seen: SeenSectors, states: tuple[str, ...]) -> list[int]:
    return [at for at, state in enumerate(seen.destination, of.destination) if state in states]


def _not_in(of: SectorMap, seen: SeenSectors, states: tuple[str, ...]) -> list[int]:
    return [at for at, state in enumerate(seen.destination, of.destination) if state not in states]
