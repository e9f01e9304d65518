# SPDX-License-Identifier: GPL-2.0-or-later
"""Generated cases: copies of every shape, drawn from a seed, each with a point and an action.

Pure: the same space, seed and number give the same case.  Sources may touch, overlap, repeat
one another and come in any order; the destination shares no block with a source, since what a
copy onto its own source leaves behind is not defined: source ranges may be processed in any
order (NVM Command Set, Copy; descriptor formats 2h and 3h prohibit it altogether).

All positions in this module are in logical blocks, until the copy is made of them.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lab.copy.model import SECTOR, Copy, Extent, Layout
from lab.copy.paths.base import GUARD, CopyPath
from lab.errors import UsageError
from lab.faults.actions import REHEARSAL, SIZE
from lab.faults.model import Point
from lab.suites.copy_faults.failures import NothingToStrike
from lab.suites.copy_faults.options import CopyFaultsOptions
from lab.suites.copy_faults.selection import Cell, Selection

GRID = 8
"""Blocks to which the parts of an aligned copy are aligned: 4 KiB, or 32 KiB of large blocks."""

SHORT = 8
"""Blocks: the most that a short range has."""

_GAP = 16
"""Blocks: the most that lies between two parts that neither touch nor overlap."""

_RELATIONS = ("apart", "apart", "adjacent", "overlapping", "duplicate")
_LENGTHS = ("one", "short", "any", "any", "longest")


@dataclass(frozen=True)
class Space:
    """What cases are drawn from.

    `first` and `end`: the first block that a window may have, and the blocks of the ground;
    `ranges`, `length` and `total`: the most source ranges, blocks in one of them, and blocks in
    all.  `known`: by the number of ranges, the points of such a copy; {} where only a rehearsal can
    tell.  `to_the_end`: a copy may reach the last block of the ground.
    """

    path: CopyPath
    selection: Selection
    first: int
    end: int
    ranges: int
    length: int
    total: int
    known: Mapping[int, Sequence[Point]] = field(default_factory=dict)
    to_the_end: bool = True

    @property
    def guard(self) -> int:
        """Blocks before and behind the copy that must not change."""
        return max(GUARD // self.path.unit, 1)


def space(options: CopyFaultsOptions, path: CopyPath) -> Space:
    """All that the options, the path, its ground and its limits allow.

    Raises UsageError when the ground is too small for any copy, or the path takes only regular
    ones.
    """
    if not path.any_shape:
        raise UsageError(
            f"{path.name} copies in one regular way only: nothing to draw", hint="leave out --cases"
        )
    unit, limits = path.unit, path.limits
    first, end = path.first // unit, path.size // (unit * SECTOR)
    ranges = min(options.ranges, limits.msrc, limits.mcl)
    room = end - first - 2 * (path.guard // unit) - (ranges + 3) * (_GAP + GRID)
    total = min(limits.mcl, room // 2)
    if total < ranges:
        raise UsageError(
            f"{path.ref} has {path.size >> 10} KiB: too small to draw copies on it",
            hint="ask for fewer ranges, or for a larger disk or layer",
        )
    known = {
        count: found for count in range(1, ranges + 1) if (found := path.points(count)) is not None
    }
    selection = _drawable(options.selection)
    if known and not any(selection.on(path, points) for points in known.values()):
        raise UsageError(
            f"none of these actions is possible at any of these points of a copy of {ranges} "
            "ranges, more than which is not allowed",
            hint="ask for other actions or points, or raise msrc in the profile",
        )
    return Space(
        path, selection, first, end, ranges, min(options.blocks, limits.mssrl), total, known,
        # A planted defect may strike behind the destination, where there must be something to hit.
        to_the_end=not options.plant.kind,
    )  # fmt: skip


def _drawable(selection: Selection) -> Selection:
    """What can be drawn of a selection: copies at a limit have their own shapes, how many
    allocations a copy makes nobody knows, and both come behind.  Raises UsageError where nothing
    else was asked for."""
    actions = tuple(
        action for action in selection.actions if action != SIZE and not action.beforehand
    )
    if not actions:
        asked = ", ".join(map(str, selection.actions))
        raise UsageError(
            f"the copies of {asked} are those of a sweep: nothing to draw",
            hint=f"leave out --cases, or ask for {REHEARSAL} as well",
        )
    return replace(selection, actions=actions)


def draw(space: Space, seed: int, number: int) -> Layout:
    """The copy of case `number` of a seed."""
    dice = random.Random(f"{seed}:{number}")
    ranges = dice.choice(_countable(space))
    grid = dice.choice((1, GRID))
    sources = _sources(dice, space, ranges, grid)
    if space.path.copies_last:
        destination = _up(max(source.end for source in sources) + _gap(dice), grid)
    else:
        sources, destination = _with_destination(dice, sources, grid)
    return _layout(dice, space, sources, destination)


def _countable(space: Space) -> list[int]:
    """The numbers of ranges with which something can be done at a point asked for."""
    if not space.known:
        return list(range(1, space.ranges + 1))
    return [
        count for count, points in space.known.items() if space.selection.on(space.path, points)
    ]


def strike(space: Space, seed: int, number: int, points: Sequence[Point]) -> Cell:
    """What happens where in case `number`, given all points of its copy; every action that is
    possible comes equally often.  Raises NothingToStrike where none is."""
    dice = random.Random(f"{seed}:{number}:fault")
    found = space.selection.on(space.path, points)
    if not found:
        raise NothingToStrike(
            f"case {number}: none of these actions is possible at any of these points of the copy"
        )
    there = {action for _, action in found}
    action = dice.choice([each for each in space.selection.actions if each in there])
    return dice.choice([point for point, each in found if each == action]), action


def cut(plan: Layout, point: Point, seed: int, number: int) -> int:
    """How many blocks of its range a torn write leaves in case `number`: anything but all."""
    copy = plan.copy
    if not 0 < point.k <= len(copy.sources):
        return 0
    blocks = copy.sources[point.k - 1].sectors // copy.unit
    return random.Random(f"{seed}:{number}:cut").randint(1, blocks - 1) if blocks > 1 else 0


def _sources(dice: random.Random, space: Space, count: int, grid: int) -> list[Extent]:
    """Source ranges in some relation to one another, somewhere from block 0 on."""
    placed: list[Extent] = []
    left, clear = space.total, 0
    for following in reversed(range(count)):
        longest = min(space.length, left - following)
        length = _length(dice, longest)
        relation = dice.choice(_RELATIONS) if placed else "apart"
        other = dice.choice(placed) if placed else Extent(0, 0)
        if relation == "apart":
            source = Extent(_up(clear + dice.randint(0, _GAP), grid), length)
        elif relation == "adjacent":
            source = Extent(other.end, length)
        elif relation == "overlapping":
            source = Extent(dice.randrange(other.start, other.end), length)
        else:
            source = Extent(other.start, min(other.sectors, longest))
        placed.append(source)
        left -= source.sectors
        clear = max(clear, source.end)
    if dice.random() < 0.5:
        dice.shuffle(placed)
    return placed


def _length(dice: random.Random, longest: int) -> int:
    kind = dice.choice(_LENGTHS)
    if kind == "one":
        return 1
    if kind == "longest":
        return longest
    return dice.randint(1, min(longest, SHORT) if kind == "short" else longest)


def _with_destination(
    dice: random.Random, sources: list[Extent], grid: int
) -> tuple[list[Extent], int]:
    """Put the destination before, between or behind the sources, which make room for it."""
    total = sum(source.sectors for source in sources)
    # Between two sources that touch or overlap there is no place.
    places = [0, *_breaks(sources), max(source.end for source in sources)]
    place = dice.choice(places)
    behind = [source.start for source in sources if source.start >= place]
    before = max((source.end for source in sources if source.start < place), default=0)
    destination = _up(before + _gap(dice), grid)
    end = destination + total + _gap(dice)
    shift = _up(max(0, end - min(behind, default=end)), grid)
    moved = [
        Extent(source.start + (shift if source.start >= place else 0), source.sectors)
        for source in sources
    ]
    return moved, destination


def _breaks(sources: Sequence[Extent]) -> list[int]:
    """Where a source begins and all that begin before it have ended, with a gap."""
    found, end = [], None
    for source in sorted(sources, key=lambda source: source.start):
        if end is not None and source.start > end:
            found.append(source.start)
        end = max(end or 0, source.end)
    return found


def _gap(dice: random.Random) -> int:
    """Blocks between the destination and its neighbour; with none they touch."""
    return dice.choice((0, 1, dice.randint(0, _GAP)))


def _layout(dice: random.Random, space: Space, sources: list[Extent], destination: int) -> Layout:
    """The copy with its window, at the beginning of the namespace or at its very end."""
    size = max(destination + sum(source.sectors for source in sources), *(s.end for s in sources))
    tail = space.guard
    base = space.first + space.guard
    if dice.random() < 0.25 and not space.path.copies_last:
        tail = dice.choice((0 if space.to_the_end else space.guard, space.guard))
        base = space.end - tail - size
    unit = space.path.unit
    copy = Copy(
        tuple(Extent((base + source.start) * unit, source.sectors * unit) for source in sources),
        (base + destination) * unit,
        unit,
    )
    window = Extent((base - space.guard) * unit, (space.guard + size + tail) * unit)
    return Layout(copy, window)


def _up(value: int, grid: int) -> int:
    return -(-value // grid) * grid
