# SPDX-License-Identifier: GPL-2.0-or-later
"""Actions and points that were asked for, and what of that comes to pass on an offload path."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lab.copy.paths.base import CopyPath
from lab.faults.actions import REHEARSAL, Action
from lab.faults.model import Point

Cell = tuple[Point, Action]
"""An action at a point."""


@dataclass(frozen=True)
class Selection:
    """Actions, and the points at which they are wanted; () for all points that there are."""

    actions: tuple[Action, ...]
    points: tuple[Point, ...] = ()

    def possible(self, path: CopyPath) -> tuple[Action, ...]:
        """The actions that mean something on the path; where nothing can be held, those without a
        point, or a copy without any fault."""
        if not path.held:
            unheld = (
                each
                for each in self.actions
                if each.undisturbed or (each.beforehand and path.possible(each))
            )
            return tuple(unheld) or (REHEARSAL,)
        return tuple(action for action in self.actions if path.possible(action))

    def without_place(self) -> "Selection":
        """The same but for actions for which it must be known where on the medium a point lies."""
        return replace(self, actions=tuple(each for each in self.actions if not each.on_medium))

    def among(self, points: Iterable[Point]) -> list[Point]:
        """Those of the points of a copy that are wanted."""
        return [point for point in points if not self.points or point in self.points]

    def on(self, path: CopyPath, points: Iterable[Point]) -> list[Cell]:
        """The possible combinations, given all points of a copy by the path.

        First all after which the guest goes on, then those that cost a boot each; in the order of
        the actions, and of the points for each, within both.
        """
        wanted = self.among(points)
        cells = [
            (point, action)
            for action in self.possible(path)
            for point in wanted
            if action.possible_at(point)
        ]
        return sorted(cells, key=lambda cell: cell[1].costs_boot)
