# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab run PROFILE copy-faults -- …` was asked for, and the copies that it makes of it."""

import argparse
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.copy import plant
from lab.copy.paths.base import CopyPath
from lab.copy.plant import Plant
from lab.copy.sizes import MAX_BLOCKS
from lab.errors import UsageError
from lab.faults.actions import Action
from lab.faults.blkerror import ALIKE, BlockError
from lab.faults.model import Point
from lab.suites.arguments import Help, Parser
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.cell import MAX_ALLOCATIONS
from lab.suites.copy_faults.failures import NothingToStrike
from lab.suites.copy_faults.selection import Cell, Selection

MAX_DEADLINE = 3600.0
"""Seconds; by then the guest's own timeout would strike."""


MAX_CASES = 1_000_000

ALLOCATIONS = 64
"""Those of a kind that a copy makes, of which one is made to fail, at most."""


@dataclass(frozen=True)
class GeneratedCases:
    """`cases` copies, each drawn from `seed` and its number.

    `minimise`: the first case of each kind of failure is made smaller before it is reported.
    """

    cases: int
    seed: int
    minimise: bool


@dataclass(frozen=True)
class CopyFaultsOptions:
    """A sweep of one copy, or cases drawn at random.

    A sweep copies `ranges` source ranges of `blocks` blocks each, interrupted by all actions at
    all points of the selection.  Of generated cases these are the limits within which each draws a
    copy, a point and an action of its own.  `hang_deadline`: seconds after the
    release within which a copy must complete.  `path` and `ref`: the offload path and the disk or
    layer it is tried on, '' for the profile's own.  `fua`: the copy itself must be durable.
    `torn_at`: blocks of its range that a torn write leaves, 0 for half of them.  `block_error`:
    what `blk-error` fails.  `allocations`: how many of each kind are made to fail at most, one in
    each case.
    """

    ranges: int
    blocks: int
    selection: Selection
    plant: Plant
    hang_deadline: float
    generated: GeneratedCases | None = None
    path: str = ""
    ref: str = ""
    fua: bool = False
    torn_at: int = 0
    block_error: BlockError = ALIKE
    allocations: int = ALLOCATIONS

    def possible(self, path: CopyPath) -> tuple[Action, ...]:
        """The actions that mean something on the path.  Raises UsageError when none does."""
        found = self.selection.possible(path)
        if not found:
            asked = ", ".join(map(str, self.selection.actions))
            can = filter(path.possible, registry.actions())
            raise UsageError(
                f"{path.name} on {path.ref}: {asked}: not possible on this path",
                hint=f"possible are: {', '.join(map(str, can))}",
            )
        return found

    def cells(self, path: CopyPath, points: Sequence[Point]) -> list[Cell]:
        """What can be done where, given all points of the copy, apart from the rehearsal.

        Raises UsageError when a point that was asked for is none of them, NothingToStrike when no
        action is possible at any.
        """
        for point in self.selection.points:
            if point not in points:
                raise UsageError(
                    f"point {point}: a copy of {self.ranges} ranges by {path.name} has none",
                    hint=f"it has {_listed(points)}",
                )
        faults = [action for action in self.possible(path) if action.at_a_point]
        found = [cell for cell in self.selection.on(path, points) if cell[1] in faults]
        if faults and not found:
            wanted = _listed(self.selection.among(points))
            raise NothingToStrike(
                f"none of these actions is possible at any of these points: {wanted}",
                hint="errors strike at read:K (eio) or write:K; completed and flushed are for "
                "kill and power-cut",
            )
        return found

    def document(self) -> dict[str, Any]:
        """What was asked for, as it stands in the run's JSON; `seed` is there to be repeated."""
        drawn = self.generated
        return {
            "mode": "generated" if drawn else "sweep",
            "path": self.path or None,
            "on": self.ref or None,
            "fua": self.fua,
            "torn_at": self.torn_at or None,
            "blk_error": str(self.block_error),
            "allocations": self.allocations,
            "cases": drawn.cases if drawn else None,
            "seed": drawn.seed if drawn else None,
            "minimise": drawn.minimise if drawn else None,
            "ranges": self.ranges,
            "blocks": self.blocks,
            "actions": [str(action) for action in self.selection.actions],
            "points": [str(point) for point in self.selection.points],
            "hang_deadline": self.hang_deadline,
        }


def _listed(points: Sequence[Point]) -> str:
    return ", ".join(map(str, points))


def parse(args: Sequence[str]) -> CopyFaultsOptions:
    """Read a suite's arguments.  Raises UsageError, or Help where that is asked for."""
    given = _parser().parse_args(args)
    if given.plant == "help":
        raise Help(plant.listing())
    drawn = _generated(given)
    # Of a sweep these are the copy, of generated cases only its limits.
    ranges = _or(given.ranges, 8 if drawn else 4)
    blocks = _or(given.blocks, MAX_BLOCKS if drawn else 64)
    if ranges < 1 or blocks < 1:
        raise UsageError("copy-faults: --ranges and --blocks must be positive")
    if given.torn_at < 0 or given.torn_at >= blocks:
        raise UsageError(f"copy-faults: --torn-at must lie within the {blocks} blocks of a range")
    if not 0 < given.hang_deadline <= MAX_DEADLINE:
        raise UsageError(f"copy-faults: --hang-deadline must be within {MAX_DEADLINE:.0f} s")
    if not 1 <= given.allocations <= MAX_ALLOCATIONS:
        raise UsageError(f"copy-faults: --allocations must be within 1 and {MAX_ALLOCATIONS}")
    points = [Point.parse(text) for text in given.points.split(",") if text]
    actions = registry.named(given.actions) or registry.swept()
    return CopyFaultsOptions(
        ranges, blocks, Selection(actions, tuple(dict.fromkeys(points))),
        plant.find(given.plant), given.hang_deadline, drawn, given.path, given.on, given.fua,
        given.torn_at, BlockError.parse(given.blk_error), given.allocations,
    )  # fmt: skip


def _parser() -> Parser:
    parser = Parser("copy-faults")
    add = parser.add_argument
    add("--path", default="", help="offload path [the profile's own]")
    add("--layer", dest="on", default="", metavar="NAME", help="disk or layer to copy on")
    add("--ranges", type=int, metavar="N", help="source ranges [4; generated: at most 8]")
    add("--blocks", type=int, metavar="N", help="blocks in each [64; generated: at most all]")
    add("--points", default="", metavar="P,…", help="where to interrupt, as write:2 [everywhere]")
    add("--actions", default="", metavar="A,…", help="what to do there, or all, or host")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--sweep", action="store_true", help="every action at every point [so]")
    mode.add_argument("--cases", type=int, metavar="N", help="generate so many cases instead")
    add("--seed", type=int, metavar="N", help="of generated cases [drawn, and told]")
    add("--no-minimise", dest="minimise", action="store_false", help="leave failing cases as drawn")
    add("--fua", action="store_true", help="ask for copies that are durable by themselves")
    add("--torn-at", type=int, default=0, metavar="N", help="blocks a torn write leaves [half]")
    add("--blk-error", default="", metavar="K=V,…", help="op, sectors, status, chance of blk-error")
    add("--allocations", type=int, default=ALLOCATIONS, metavar="N", help="that fail, at most [64]")
    add("--hang-deadline", type=float, default=10.0, metavar="S", help="seconds to complete [10]")
    add("--plant", default="", metavar="KIND", help="plant a defect; `help` lists the kinds")
    return parser


def _generated(given: argparse.Namespace) -> GeneratedCases | None:
    if given.cases is None:
        if given.seed is not None or not given.minimise:
            raise UsageError("copy-faults: --seed and --no-minimise are for --cases N")
        return None
    if not 1 <= given.cases <= MAX_CASES:
        raise UsageError(f"copy-faults: --cases must be within 1 and {MAX_CASES}")
    # Drawn and told, so that whatever is found can be drawn again.
    seed = _or(given.seed, secrets.randbits(32))
    return GeneratedCases(given.cases, seed, given.minimise)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
