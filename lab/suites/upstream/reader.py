# SPDX-License-Identifier: GPL-2.0-or-later
"""What a suite's output tells while it runs: which case began, and how each ended."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from lab.results.cases import Status


@dataclass(frozen=True)
class Began:
    """A case has begun."""

    name: str


@dataclass(frozen=True)
class Ended:
    """A case has ended; `output` is what the suite said of it."""

    name: str
    status: Status
    reason: str
    output: str


class Reader(Protocol):
    """Reads the output of one command of a suite as it comes."""

    def feed(self, text: str) -> Iterator[Began | Ended]:
        """What the next piece of output tells."""

    def finish(self) -> Iterator[Ended]:
        """What is told by the output being complete: that the command has ended by itself."""
