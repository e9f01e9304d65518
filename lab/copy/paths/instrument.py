# SPDX-License-Identifier: GPL-2.0-or-later
"""An offload path in a guest that is up: what a copy there takes, and what came of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lab.copy.answers import CopyAnswer, checked
from lab.copy.ground import Ask, CachedGround, Ground, GuestGround, MediumGround, errno_name
from lab.copy.model import Completion, Copy
from lab.copy.oracle import Tagging

if TYPE_CHECKING:
    from lab.copy.paths.base import CopyPath


@dataclass(frozen=True)
class Subject:
    """A running guest as a path is given it: the executor in it, and the medium below."""

    ask: Ask
    medium: Path


_Plan = TypeVar("_Plan", bound="CopyPath")


class Instrument(Generic[_Plan]):
    """A path on a guest that is up; it serves over the guest's reboots.

    All that needs no guest is its `path`'s.
    """

    def __init__(self, path: _Plan, subject: Subject) -> None:
        self.path = path
        self.ask = subject.ask
        self.medium = subject.medium

    @property
    def ground(self) -> Ground:
        """Where the oracle writes and reads."""
        if self.path.on_medium:
            source = self.path.source
            return MediumGround(
                self.medium, self.medium.with_name(source.medium) if source else None
            )
        return GuestGround(self.ask, self.path.node, self.path.unit, self.path.file_size)

    @property
    def cache(self) -> CachedGround:
        """The ground as programs in the guest see it, through the page cache."""
        return CachedGround(self.ask, self.path.node, self.path.unit, maps=self.path.maps)

    def learn(self) -> str:
        """Find out, while the guest is idle, what must be known of its kernel; what that was, in
        words, or ''."""
        return ""

    def prepare(self, copy: Copy, tagging: Tagging) -> None:
        """Let the window hold its tags, and everything come to rest."""
        start, ground = tagging.window.start, self.ground
        ground.write(start, tagging.data())
        if self.path.source:
            ground.source.write(start, tagging.source.data())

    def completion(self, answer: dict[str, Any]) -> Completion:
        """What the executor reported, as the end of a copy.  Raises GuestError."""
        told = checked(CopyAnswer, answer)
        error = errno_name(told.errno) if told.errno else ""
        said = f"{error} ({told.said})" if error and told.said else error
        return Completion(told.errno, told.done, told.seconds, error, said)

    def check(self, copy: Copy, completion: Completion | None) -> str:
        """What is wrong with the ground after a copy, apart from its sectors; '' if nothing."""
        return ""

    def mend(self, *, rebooted: bool) -> str:
        """Make the ground usable again after a fault; what cannot be made good, or ''."""
        return ""
