# SPDX-License-Identifier: GPL-2.0-or-later
"""The fault matrix of a run: points by actions, made of its cases' names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lab.results.store.schema import CaseRow

_CELL = re.compile(
    r"(?P<of>\S+:)??(?P<point>(?:read|write|written):\d+|completed|flushed) (?P<action>[a-z-]+)"
)


@dataclass(frozen=True)
class Matrix:
    """The cells of one offload path; a case that was drawn at random is in none."""

    path: str
    actions: list[str]
    points: list[str]
    cells: dict[tuple[str, str], CaseRow]


def cell_of(name: str) -> tuple[str, str, str] | None:
    """Path ('' if there is but one), point and action in a case's name; None if it has none."""
    found = _CELL.fullmatch(name)
    return ((found["of"] or "").rstrip(":"), found["point"], found["action"]) if found else None


def matrices(cases: Iterable[CaseRow]) -> list[Matrix]:
    """One matrix for each offload path that a run's cases name."""
    of: dict[str, dict[tuple[str, str], CaseRow]] = {}
    for case in cases:
        if found := cell_of(case.name):
            path, point, action = found
            of.setdefault(path, {})[point, action] = case
    return [
        Matrix(
            path,
            list(dict.fromkeys(action for _, action in cells)),
            list(dict.fromkeys(point for point, _ in cells)),
            cells,
        )
        for path, cells in of.items()
    ]
