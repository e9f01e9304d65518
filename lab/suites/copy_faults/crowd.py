# SPDX-License-Identifier: GPL-2.0-or-later
"""Several copies and writes at once: which, what the guest is asked for, what speaks of them."""

import random
from collections.abc import Iterator, Sequence

from lab.copy.concurrent import Crowd, Rivals
from lab.copy.contract import Offload
from lab.copy.ground import packed
from lab.copy.model import SECTOR, Copy, Extent, Layout
from lab.copy.oracle import Tagging
from lab.copy.paths.base import CopyPath, Observation

MOST = 3
"""Rivals of a copy."""

SWEPT = 8
"""How many crowds a sweep has."""

_TRIES = 20


def draw(path: CopyPath, layout: Layout, seed: int, number: int) -> Rivals:
    """The rivals of case `number` of a seed: the same for the same path, copy, seed and number.

    They write where the copy reads or writes, or right beside it, and the copies among them read
    there as well; none of them copies onto its own source.
    """
    dice = random.Random(f"{seed}:{number}:rivals")
    drawn = [_rival(dice, path, layout) for _ in range(dice.randint(1, MOST))]
    return Rivals(
        tuple(each for each in drawn if isinstance(each, Copy)),
        tuple(each for each in drawn if isinstance(each, Extent)),
    )


def _rival(dice: random.Random, path: CopyPath, layout: Layout) -> Copy | Extent:
    copy = layout.copy
    parts = (*copy.sources, copy.target, copy.target)
    target = _near(dice, layout, dice.choice(parts), min(path.limits.mssrl, path.limits.mcl))
    if dice.random() < 0.4:
        return target
    for _ in range(_TRIES):
        source = _near(dice, layout, dice.choice(parts), 1, target.sectors)
        if not source.overlaps(target):
            return Copy((source,), target.start, copy.unit)
    return target


def _near(dice: random.Random, layout: Layout, part: Extent, most: int, sectors: int = 0) -> Extent:
    """An extent that meets a part of the copy or touches it, of `sectors`, or of at most `most`
    blocks, inside of the extent that the copy's own parts span."""
    copy = layout.copy
    unit, whole = copy.unit, spanned((*copy.sources, copy.target))
    sectors = sectors or unit * dice.randint(1, min(most, part.sectors // unit))
    first = max(whole.start, part.start - sectors)
    last = min(whole.end - sectors, part.end)
    return Extent(dice.choice((first, last, dice.randrange(first, last + 1, unit))), sectors)


def spanned(extents: Sequence[Extent]) -> Extent:
    """From the first sector of all to the last."""
    start = min(each.start for each in extents)
    return Extent(start, max(each.end for each in extents) - start)


def request(path: CopyPath, crowd: Crowd) -> dict[str, object]:
    """What the executor is asked for."""
    writes = zip(crowd.rivals.writes, crowd.written, strict=True)
    return {
        "op": "crowd.copy",
        "node": path.node,
        "copies": [path.request(each) for each in _copies(crowd)],
        "writes": [
            {"offset": extent.start * SECTOR, "data": packed(tagging.data())}
            for extent, tagging in writes
        ],
    }


def taggings(rivals: Rivals, first: int, run: int) -> Iterator[Tagging]:
    """The tags that the writes are of, of one generation each from `first` on."""
    for generation, extent in enumerate(rivals.writes, first):
        yield Tagging(extent, generation, run)


def offload(path: CopyPath, seen: Observation, crowd: Crowd) -> Offload:
    """Who moved the data of all the copies."""
    if crowd.rivals.writes:
        return Offload(untold="others wrote to the same sectors at the same time")
    found = [path.offload(seen, each) for each in _copies(crowd)]
    return next((each for each in found if each.against), found[0])


def written(crowd: Crowd) -> Copy:
    """A copy whose destination spans those of all: a disk may be asked for two of them at once."""
    whole = spanned(crowd.rivals.targets(crowd.copy))
    return Copy((whole,), whole.start, crowd.copy.unit)


def _copies(crowd: Crowd) -> tuple[Copy, ...]:
    return (crowd.copy, *crowd.rivals.copies)
