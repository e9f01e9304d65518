# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab must know of a suite that comes from elsewhere in order to drive it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lab.guest.session import Session
from lab.suites.upstream.reader import Reader

SERIAL = "suite"
"""Of the read-only disk that has the tree."""

BASE = "/run/lab/suite"
TREE = f"{BASE}/tree"
"""Where the guest has the tree, writable for one boot."""
RESULTS = f"{BASE}/results"


@dataclass(frozen=True)
class Command:
    """A command in the guest."""

    argv: Sequence[str]
    cwd: str = TREE
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Cases of one section that are carried out together, for the first or a later time."""

    section: str
    names: tuple[str, ...]
    attempt: int = 1


class External(Protocol):
    """A suite: how its cases are started, what it says of them and where it leaves evidence."""

    def prepare(self, session: Session, section: str) -> None:
        """Make the guest ready for a section, after each boot; whatever a test left is gone then.
        Raises GuestError."""

    def command(self, section: str, names: Sequence[str]) -> Command:
        """The command that carries out these cases."""

    def reader(self, names: Sequence[str]) -> Reader:
        """What understands the output of that command."""

    def evidence(self, section: str, name: str) -> Mapping[str, str]:
        """What a case that did not pass may leave behind: paths in the guest, by the names under
        which they are kept.  A `*` in both stands for one piece of a path, whatever it is."""
