# SPDX-License-Identifier: GPL-2.0-or-later
"""The scene of an act: a held copy, what holds it, and what an act comes to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lab.copy.model import Copy, Extent
from lab.copy.oracle import Tagging
from lab.faults.actions import Action
from lab.faults.blkerror import ALIKE, BlockError
from lab.faults.model import Point
from lab.faults.stepper import Fault

if TYPE_CHECKING:
    from lab.suites.copy_faults.bench import Bench


class Grip(Protocol):
    """What holds a request."""

    def release(self) -> None:
        """Let it go."""


@dataclass(frozen=True)
class Scene:
    """A held copy: what it is, what is to be done to it and where it is held, what its sectors held
    before, the fault layer's part in it, how long things may take, and what the block layer is to
    fail, if it is asked."""

    bench: "Bench"
    copy: Copy
    action: Action
    point: Point
    tagging: Tagging
    grip: Grip
    fault: Fault
    hang: float
    block_error: BlockError = ALIKE

    @property
    def part(self) -> tuple[Extent, Extent]:
        """The source and the destination of the range that the point is in."""
        return self.copy.pieces()[self.point.k - 1]


def _nothing(_: float) -> str:
    return ""


@dataclass(frozen=True)
class Effect:
    """What an act came to: sectors that were damaged, sectors whose write was undone, how a layer
    lies (which shows only if the guest is ended after the copy), and what is to be done after the
    release, within so many seconds."""

    corrupted: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    lied: str = ""
    after: Callable[[float], str | None] = _nothing
