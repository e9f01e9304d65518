"""The arguments of verity."""

import argparse
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NoReturn

from lab.errors import UsageError

SECONDS = 2.0
MAX_SECONDS = 600.0

PLANTS = {
    "no-flip": "bits that are to be flipped on the medium are not",
    "stray-flip": "with every case one more bit is flipped, where nobody expects it",
}
"""Wrong expectations that cases must catch, and what each does."""


@dataclass(frozen=True)
class Options:
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"verity: {message}", hint=self.format_usage().strip())


def parse(args: list[str]) -> Options:
    """Read the suite's arguments.  Raises UsageError."""
    parser = _Parser(prog="verity", add_help=False, allow_abbrev=False)
    parser.add_argument("--only", default="", metavar="PATTERN,…")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--plant", default="", metavar="KIND")
    given = parser.parse_args(args)
    if not 0 < given.seconds <= MAX_SECONDS:
        raise UsageError(f"verity: --seconds is at most {MAX_SECONDS:.0f}")
    if given.plant and given.plant not in PLANTS:
        kinds = "; ".join(f"{kind}: {does}" for kind, does in PLANTS.items())
        raise UsageError(f"verity: nothing to plant called {given.plant}", hint=kinds)
    only = tuple(pattern for pattern in given.only.split(",") if pattern)
    return Options(only, given.seconds, given.plant)
