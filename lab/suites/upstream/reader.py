# SPDX-License-Identifier: GPL-2.0-or-later
"""What a suite's output tells while it runs: which case began, and how each ended."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from lab.results.cases import CaseStatus


@dataclass(frozen=True)
class CaseStart:
    """A case has begun."""

    name: str


@dataclass(frozen=True)
class CaseEnd:
    """A case has ended; `output` is what the suite said of it."""

    name: str
    status: CaseStatus
    reason: str
    output: str


class Reader(Protocol):
    """Reads the output of one command of a suite as it comes."""

    def feed(self, text: str) -> Iterator[CaseStart | CaseEnd]:
        """What the next piece of output tells."""

    def finish(self) -> Iterator[CaseEnd]:
        """What is told by the output being complete: that the command has ended by itself."""
