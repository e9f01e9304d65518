"""What `lab run PROFILE copy-faults -- …` was asked for, and the copies that it makes of it."""

import argparse
from dataclasses import dataclass
from typing import NoReturn

from lab.copy import plant
from lab.copy.model import SECTOR, Copy, Extent
from lab.copy.plant import Plant
from lab.errors import UsageError
from lab.faults.model import Action, Point, cells, points_of
from lab.vm.graph import Drive

GUARD = 64
"""Sectors around and between the parts of a copy that must not change."""

FIRST = 2048
"""First sector of the window: clear of anything that looks like a partition table."""


MAX_DEADLINE = 3600.0
"""Seconds; by then the guest's own timeout would strike."""


@dataclass(frozen=True)
class Options:
    """A sweep: `ranges` source ranges of `blocks` logical blocks each, points and actions.

    `hang_deadline`: seconds after the release within which a copy must complete.
    """

    ranges: int
    blocks: int
    actions: tuple[Action, ...]
    points: tuple[Point, ...]
    plant: Plant
    hang_deadline: float

    def cells(self) -> list[tuple[Point, Action]]:
        """The cases.  Raises UsageError when no action is possible at any point."""
        found = cells(self.points, self.actions)
        if not found:
            raise UsageError(
                "none of these actions is possible at any of these points",
                hint="errors strike at read:K (eio) or write:K; completed and flushed are for "
                "kill and power-cut",
            )
        return found


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"copy-faults: {message}", hint=self.format_usage().strip())


class PlantHelp(Exception):
    """The kinds of planted defects were asked for."""


def parse(args: list[str]) -> Options:
    """Read a suite's arguments.  Raises UsageError, or PlantHelp for `--plant help`."""
    parser = _Parser(prog="copy-faults", add_help=False, allow_abbrev=False)
    parser.add_argument("--ranges", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=64)
    parser.add_argument("--actions", default=",".join(Action))
    parser.add_argument("--points", default="")
    parser.add_argument("--plant", default="")
    parser.add_argument("--hang-deadline", type=float, default=10.0)
    given = parser.parse_args(args)
    if given.plant == "help":
        raise PlantHelp
    if given.ranges < 1 or given.blocks < 1:
        raise UsageError("copy-faults: --ranges and --blocks must be positive")
    if not 0 < given.hang_deadline <= MAX_DEADLINE:
        raise UsageError(f"copy-faults: --hang-deadline must be within {MAX_DEADLINE:.0f} s")
    all_points = points_of(given.ranges)
    points = [Point.parse(text) for text in given.points.split(",") if text] or all_points
    for point in points:
        if point not in all_points:
            raise UsageError(
                f"point {point}: a copy of {given.ranges} ranges has none",
                hint=f"k goes from 1 to {given.ranges}, or ask for more with --ranges",
            )
    actions = [Action.parse(text) for text in given.actions.split(",") if text]
    return Options(
        given.ranges, given.blocks, tuple(dict.fromkeys(actions)), tuple(dict.fromkeys(points)),
        plant.find(given.plant), given.hang_deadline,
    )  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """A copy and the window around it that the oracle tags and checks."""

    copy: Copy
    window: Extent


def layout(options: Options, drive: Drive) -> Layout:
    """Sources one after the other with gaps between them, then the destination.

    Raises UsageError when the namespace is too small for it.
    """
    unit = drive.block_size // SECTOR
    length = options.blocks * unit
    sources = tuple(
        Extent(FIRST + GUARD + index * (length + GUARD), length) for index in range(options.ranges)
    )
    copy = Copy(sources, sources[-1].end + GUARD, unit)
    window = Extent(FIRST, copy.target.end + GUARD - FIRST)
    if window.end * SECTOR > drive.size:
        raise UsageError(
            f"the copy needs {window.end * SECTOR >> 10} KiB, the namespace has {drive.size >> 10}",
            hint="ask for fewer or smaller ranges",
        )
    return Layout(copy, window)
