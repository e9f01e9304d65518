# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases that come behind those of a sweep: copies at limits, and copies with rivals."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from lab.copy.paths.base import CopyPath
from lab.faults.actions import CONCURRENT, SIZE
from lab.faults.model import REHEARSED
from lab.suites.copy_faults import crowd as crowds
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.cell import Setup

Setups = Callable[[Bench, Callable[[int], None]], Iterator[tuple[int, Setup]]]
"""From a bench, and a function that takes the number of cases, to numbers and cases; the next is
asked for when the one before has been judged."""


def with_sizes(before: Setups, path: CopyPath) -> Setups:
    """The same with copies at, and just above, each limit of the device behind it."""
    found = [
        Setup(plan, REHEARSED, SIZE, path.name, path.ref, size=name) for name, plan in path.sizes()
    ]
    return _with(before, found)


def with_crowds(before: Setups, path: CopyPath, first: Setup) -> Setups:
    """The same, and behind it the copy of its rehearsal with several crowds of others."""
    concurrent = replace(first, action=CONCURRENT)
    return _with(before, [crowded(concurrent, 0, at, path) for at in range(1, crowds.SWEPT + 1)])


def crowded(setup: Setup, seed: int, number: int, path: CopyPath) -> Setup:
    """A case with the rivals that its number draws from a seed, if that is what is to happen."""
    if setup.action != CONCURRENT:
        return setup
    return replace(setup, rivals=crowds.draw(path, setup.layout, seed, number))


def _with(before: Setups, found: list[Setup]) -> Setups:
    def setups(bench: Bench, expect: Callable[[int], None]) -> Iterator[tuple[int, Setup]]:
        last = 0
        for number, setup in before(bench, lambda total: expect(total + len(found))):
            last = max(last, number)
            yield number, setup
        yield from enumerate(found, last + 1)

    return setups
