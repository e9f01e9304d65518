# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments that all suites from elsewhere have: how their cases are carried out."""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.suites.arguments import Parser

MAX_SHARDS = 64
MAX_LOOP = 1000
_DAY = 86400.0


@dataclass(frozen=True, kw_only=True)
class DrivingOptions:
    """What was asked for.  `deadline` of a case is in seconds on hardware."""

    shards: int = 1
    loop: int = 1
    deadline: float | None = None
    known: Path | None = None
    image: str = ""
    keep: bool = False

    def driving(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "shards": self.shards,
            "loop": self.loop,
            "deadline": self.deadline,
            "known": str(self.known) if self.known else None,
        }


def add_driving(parser: Parser) -> None:
    """Have a suite's arguments contain these."""
    more = parser.add_argument
    more("--shards", type=int, default=1, metavar="N", help="guests at once [1]")
    more("--loop", type=int, default=1, metavar="N", help="runs of each test, for a ratio [1]")
    more("--deadline", type=float, metavar="S", help="seconds for a test [by its history]")
    more("--known", type=Path, metavar="FILE", help="known failures")
    more("--image", default="", help="image of the guest")
    more("--keep", action="store_true", help="leave the guest up afterwards")


def read_driving(suite: str, given: argparse.Namespace) -> dict[str, Any]:
    """The fields of DrivingOptions, as they were given.  Raises UsageError."""
    _within(suite, "--shards", given.shards, MAX_SHARDS)
    _within(suite, "--loop", given.loop, MAX_LOOP)
    if given.deadline is not None and not 0 < given.deadline <= _DAY:
        raise UsageError(f"{suite}: --deadline is in seconds, at most a day")
    return {name: getattr(given, name) for name in DrivingOptions.__dataclass_fields__}


def _within(suite: str, option: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise UsageError(f"{suite}: {option} must be within 1 and {most}")


def read_names(given: Iterable[str]) -> tuple[str, ...]:
    """Cases, once each; where one of them is `-`, those in a list on stdin as well."""
    found = list(given)
    if "-" in found:
        found += entries(sys.stdin.read())
    return tuple(name for name in dict.fromkeys(found) if name != "-")


def entries(text: str) -> list[str]:
    """The cases in a list: words, up to a `#`."""
    return [word for line in text.splitlines() for word in line.partition("#")[0].split()]
