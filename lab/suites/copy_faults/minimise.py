# SPDX-License-Identifier: GPL-2.0-or-later
"""From a case that fails to a smaller one that still does: fewer ranges, fewer blocks."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from lab.copy.model import Extent
from lab.faults.model import Point
from lab.suites.copy_faults.cell import Setup

TRIES = 30
"""Cases that are tried for one minimal one; where the guest dies each costs a boot."""


def minimise(setup: Setup, fails: Callable[[Setup], bool], tries: int = TRIES) -> Setup:
    """Greedily: the first smaller case that fails is the next to be made smaller.

    A copy with rivals stays as it is: what such a case comes to need not be the same again."""
    while not setup.rivals:
        for candidate in smaller(setup):
            if tries == 0:
                return setup
            tries -= 1
            if fails(candidate):
                setup = candidate
                break
        else:
            return setup
    return setup


def smaller(setup: Setup) -> Iterator[Setup]:
    """Possible cases a step smaller, great steps first: one range left, one less, fewer blocks.

    The destination stays where it is and the sources only lose blocks, so that nothing
    overlaps that did not before.
    """
    return (case for case in _steps(setup) if case.action.possible_at(case.point))


def _steps(setup: Setup) -> Iterator[Setup]:
    sources, k, unit = setup.layout.copy.sources, setup.point.k, setup.layout.copy.unit
    count = len(sources)
    if count > 2:
        kept = sources[k - 1] if k else sources[0]
        yield _with(setup, (kept,), min(k, 1))
    if count > 1:
        for index in range(count):
            rest = sources[:index] + sources[index + 1 :]
            yield _with(setup, rest, k - 1 if index < k - 1 or k == count else k)
    shrunk = [_cut(source, unit, unit) for source in sources]
    halves = [_cut(source, source.sectors // 2, unit) for source in sources]
    less = [_cut(source, source.sectors - unit, unit) for source in sources]
    for fewer in (shrunk, halves):
        if fewer != list(sources):
            yield _with(setup, tuple(fewer), k)
    if count > 1:
        for index, source in enumerate(sources):
            for fewer_blocks in (shrunk[index], halves[index]):
                if fewer_blocks != source:
                    yield _with(setup, (*sources[:index], fewer_blocks, *sources[index + 1 :]), k)
    for index, source in enumerate(sources):
        if less[index] != source:
            yield _with(setup, (*sources[:index], less[index], *sources[index + 1 :]), k)


def _cut(source: Extent, sectors: int, unit: int) -> Extent:
    """The beginning of a source: whole blocks, at least one."""
    return Extent(source.start, max(unit, sectors // unit * unit))


def _with(setup: Setup, sources: tuple[Extent, ...], k: int) -> Setup:
    layout = setup.layout
    return replace(
        setup,
        layout=replace(layout, copy=replace(layout.copy, sources=sources)),
        point=Point(setup.point.stage, k),
    )
