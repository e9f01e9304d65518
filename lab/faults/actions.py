# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be done to a copy at a point (actions): where each means anything, and what it needs.

How each is done, and which there are, the suite copy-faults knows (acts/registry.py).
"""

from dataclasses import dataclass

from lab.faults.model import PER_RANGE, REHEARSED, Point, Stage, ranges_written


@dataclass(frozen=True)
class Action:
    """What is done to a copy that is held.

    `at`: the stages at which it means anything: a read cannot run out of space nor be torn, a write
    that has reached the medium can no longer fail there, and what is done to a copy that has ended
    can only end the guest.  `layer`: the kind of layer below the copy that it strikes, '' where it
    needs none.
    """

    name: str
    at: tuple[Stage, ...] = ()
    layer: str = ""
    written: bool = False
    """Something must have been written by the copy."""
    on_medium: bool = False
    """It must be known where on the medium a range lies."""
    throttles: bool = False
    """The request is held by a rate limit, which QEMU can drain, and not by a breakpoint."""
    lies: bool = False
    """A layer reports writes that it did not make, or made otherwise."""
    counts: bool = False
    """The fault layer of a disk counts to the request by itself; of several disks each would count
    its own."""
    removes: bool = False
    """The device below the copy goes."""
    ends_guest: bool = False
    """QEMU is killed at the point."""
    undisturbed: bool = False
    """Nothing is done to the copy."""
    beforehand: bool = False
    """It is done before the copy begins, at no point of it."""

    def __str__(self) -> str:
        return self.name

    @property
    def at_a_point(self) -> bool:
        """It is done where a copy has come to a point."""
        return not (self.undisturbed or self.beforehand)

    @property
    def costs_boot(self) -> bool:
        """The guest must be booted again before the next case, even if nothing goes wrong."""
        return self.ends_guest or self.removes

    def possible_at(self, point: Point) -> bool:
        """Whether the action means anything at the point."""
        if self.undisturbed:
            return point == REHEARSED
        return point.stage in self.at and (not self.written or ranges_written(point) > 0)


PAGE_CACHE = "page cache"
"""The kind of layer before a copy through which programs read what it copies on."""

HELD = PER_RANGE
"""Wherever a request is held."""

ANYWHERE = tuple(Stage)

REHEARSAL = Action("rehearsal", undisturbed=True)
"""A copy without any fault, with which each run begins."""

SIZE = Action("size", undisturbed=True)
"""A copy of a size at, or just above, a limit of its device."""

CACHED_READ = Action("cached-read", HELD, PAGE_CACHE)
"""What is copied is read through the page cache while a request is held."""

CONCURRENT = Action("concurrent", undisturbed=True)
"""A copy while others copy and write on the same sectors."""


def named(point: Point, action: Action) -> str:
    """How people call what is done at a point: `write:2 eio`, or `rehearsal`."""
    return f"{point} {action}" if action.at_a_point else str(action)
