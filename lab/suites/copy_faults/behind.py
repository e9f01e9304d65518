# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases that come behind those of a sweep: copies at limits, copies of whose allocations one fails,
and copies with rivals."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from lab.copy.paths.base import CopyPath
from lab.faults.actions import CONCURRENT, SIZE, Action
from lab.faults.model import REHEARSED
from lab.suites.copy_faults import crowd as crowds
from lab.suites.copy_faults.acts.ability import able
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import NotSupported

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


def with_allocations(before: Setups, first: Setup, actions: Sequence[Action], most: int) -> Setups:
    """The same, and behind it the copy of its rehearsal as often as it makes allocations of which
    another one fails each time, and `most` times at most for each of the actions."""

    def setups(bench: Bench, expect: Callable[[int], None]) -> Iterator[tuple[int, Setup]]:
        total = last = 0

        def told(cases: int) -> None:
            nonlocal total
            total = cases
            expect(total)

        for number, setup in before(bench, told):
            last = max(last, number)
            yield number, setup
        for action in _able(bench, actions, alone=not last):
            for nth in range(1, most + 1):
                last += 1
                expect(total := total + 1)
                yield last, replace(first, action=action, allocation=nth)
                if not bench.struck:
                    # None failed any more: it is no case.
                    expect(total := total - 1)
                    break
            if not bench.struck and nth == 1:
                bench.lacking[action] = "the copying task makes no such allocation"

    return setups


def _able(bench: Bench, actions: Sequence[Action], *, alone: bool) -> tuple[Action, ...]:
    """Those that the guest's kernel has what they need for.  Raises NotSupported where it has that
    for none, and there was nothing else to do."""
    try:
        return able(bench, actions)
    except NotSupported:
        if alone:
            raise
        return ()


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
