# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of verity."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from lab.errors import UsageError
from lab.suites.arguments import Parser

SECONDS = 2.0
MAX_SECONDS = 600.0

PLANTS = {
    "no-flip": "bits that are to be flipped on the medium are not",
    "stray-flip": "with every case one more bit is flipped, where nobody expects it",
}
"""Wrong expectations that cases must catch, and what each does."""


@dataclass(frozen=True)
class VerityOptions:
    """What was asked for.  `only` are patterns of titles, `seconds` those of one measurement."""

    only: tuple[str, ...] = ()
    seconds: float = SECONDS
    plant: str = ""

    def selects(self, title: str) -> bool:
        """Whether a case is to be carried out."""
        return not self.only or any(fnmatchcase(title, pattern) for pattern in self.only)

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {"only": list(self.only), "seconds": self.seconds, "plant": self.plant or None}


def parse(args: Sequence[str]) -> VerityOptions:
    """Read the suite's arguments.  Raises UsageError, or Help where that is asked for."""
    kinds = "; ".join(f"{kind}: {does}" for kind, does in PLANTS.items())
    parser = Parser("verity")
    add = parser.add_argument
    add("--only", default="", metavar="PATTERN,…", help="cases, as 'tasklet:fec-*' [all]")
    add("--seconds", type=float, default=SECONDS, metavar="S", help="a turn of latency [2]")
    add("--plant", default="", metavar="KIND", help=f"a wrong expectation to be caught: {kinds}")
    given = parser.parse_args(args)
    if not 0 < given.seconds <= MAX_SECONDS:
        raise UsageError(f"verity: --seconds is at most {MAX_SECONDS:.0f}")
    if given.plant and given.plant not in PLANTS:
        raise UsageError(f"verity: nothing to plant called {given.plant}", hint=kinds)
    only = tuple(pattern for pattern in given.only.split(",") if pattern)
    return VerityOptions(only, given.seconds, given.plant)
