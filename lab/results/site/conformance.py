# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of conformance as a table: situations by paths, with the rules that are violated there.

A situation is a stage and an action, such as `write eio`, over all its points; see
docs/conformance.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lab.results.cases import CaseStatus
from lab.results.site.matrix import cell_of
from lab.results.store.schema import CaseRow

FELL_BACK = CaseStatus.FELL_BACK.value


@dataclass(frozen=True)
class Table:
    """`cells` has, by situation and path, each violated rule with what shows that first, and
    `fell back` where a caller was served otherwise; a path that never came into a situation is not
    in it."""

    paths: list[str]
    situations: list[str]
    cells: dict[tuple[str, str], dict[str, str]]


def table(cases: Iterable[CaseRow]) -> Table:
    """The table of a run's cases, in their order: the reference's come first."""
    paths: dict[str, None] = {}
    situations: dict[str, tuple[int, str]] = {}
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for case in cases:
        # A copy without a fault has no point; its own name is its situation.
        path, point, action = cell_of(case.name) or _undisturbed(case.name)
        paths.setdefault(path)
        if case.status == "notrun":
            continue
        stage = point.partition(":")[0]
        situation = f"{stage} {action}".strip()
        situations.setdefault(situation, (_STAGES.index(stage) if stage else 0, action))
        violated = cells.setdefault((situation, path), {})
        for rule, against in case.rules.items():
            if against:
                violated.setdefault(rule, f"{point}: {against}" if point else against)
        if case.status == FELL_BACK:
            violated.setdefault(FELL_BACK, f"{point}: {case.reason}" if point else case.reason)
    order = list(dict.fromkeys(action for _, action in situations.values()))
    by_stage = sorted(
        situations, key=lambda each: (order.index(situations[each][1]), situations[each][0])
    )
    return Table(list(paths), by_stage, cells)


def _undisturbed(name: str) -> tuple[str, str, str]:
    path, _, situation = name.rpartition(":")
    return path, "", situation


_STAGES = ("read", "write", "written", "completed", "flushed")
"""In the order in which a copy comes to them."""
