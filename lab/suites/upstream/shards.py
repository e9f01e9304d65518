# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases divided among several guests, so that all end at about the same time."""

from collections.abc import Mapping, Sequence
from statistics import median

from lab.errors import UsageError
from lab.results import runs
from lab.results.cases import FAILURES, CaseStatus, read_all
from lab.suites.upstream.driver import Batch

_LOOKED_AT = 20
"""Runs, the latest ones, that are searched for durations."""


def seen(suite: str, profile: str, accelerator: str) -> dict[str, float]:
    """Seconds that each case took the last time that it came to an end, in earlier runs of a
    suite on a profile; by title."""
    found: dict[str, float] = {}
    for name in runs.ids()[:_LOOKED_AT]:
        document = runs.document(name)
        made_of = tuple(document.get(key) for key in ("suite", "profile", "accelerator"))
        if made_of != (suite, profile, accelerator):
            continue
        try:
            cases = read_all(name, document)
        except UsageError:
            continue  # Of another lab: then its cases are of unknown duration.
        for case in cases:
            # One that was left out took no time at all.
            if case.seconds and case.status in {CaseStatus.PASS, CaseStatus.NOTRUN, *FAILURES} - {
                CaseStatus.HUNG
            }:
                found.setdefault(case.title, case.seconds)
    return found


def share(
    batches: Sequence[Batch], lanes: int, durations: Mapping[str, float]
) -> list[list[Batch]]:
    """Divide every batch among `lanes`: the longest case first, each to the lane that has the least
    to do.  A case whose duration is not known counts as the median of the others, or 1.

    Every case is in exactly one lane, the same one in all its repetitions, in the order of its
    batch; lanes may be empty.
    """
    usual = median(durations.values()) if durations else 1.0
    loads = [0.0] * lanes
    places: dict[str, int] = {}
    shared: list[list[Batch]] = [[] for _ in range(lanes)]
    for batch in batches:
        prefix = f"{batch.section}:" if batch.section else ""
        lengths = {prefix + name: durations.get(prefix + name, usual) for name in batch.names}
        for title in sorted(lengths, key=lambda title: -lengths[title]):
            lane = places.setdefault(title, loads.index(min(loads)))
            loads[lane] += lengths[title]
        for lane, mine in enumerate(shared):
            names = tuple(name for name in batch.names if places[prefix + name] == lane)
            if names:
                mine.append(Batch(batch.section, names, batch.attempt))
    return shared
