# SPDX-License-Identifier: GPL-2.0-or-later
"""What the suite conformance is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.copy import plant
from lab.copy.paths import REFERENCE, REFERENCES, find
from lab.copy.paths import paths as all_paths
from lab.errors import UsageError
from lab.faults.actions import Action
from lab.profile.models import Profile
from lab.suites.arguments import Parser
from lab.suites.conformance import quirks
from lab.suites.conformance.quirks import Quirk
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.options import MAX_DEADLINE, CopyFaultsOptions
from lab.suites.copy_faults.selection import Selection

NAME = "conformance"
ACTIONS = "resume,eio,enospc,delay,kill,power-cut,size"
"""What every path can be done, so that all can be compared; sizes are tried where there are
limits."""

SECTORS = 64
"""Of one source range; whole blocks of every path."""


@dataclass(frozen=True)
class ConformanceOptions:
    """What `lab run PROFILE conformance -- …` was asked for."""

    paths: tuple[str, ...]
    ranges: int
    actions: tuple[Action, ...]
    hang_deadline: float
    known: tuple[Quirk, ...]
    reference: str = REFERENCE

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "paths": list(self.paths),
            "reference": self.reference,
            "ranges": self.ranges,
            "actions": [str(action) for action in self.actions],
            "hang_deadline": self.hang_deadline,
            "quirks": len(self.known),
        }

    def options(self, profile: Profile, path: str) -> CopyFaultsOptions:
        """The sweep of one path."""
        unit = find(profile, path).unit
        return CopyFaultsOptions(
            self.ranges, max(SECTORS // unit, 1), Selection(self.actions), plant.find(""),
            self.hang_deadline, path=path,
        )  # fmt: skip


def parse(args: Sequence[str]) -> ConformanceOptions:
    """Read the suite's arguments.  Raises UsageError, or Help where that is asked for."""
    parser = Parser(NAME)
    add = parser.add_argument
    add("--paths", default="", metavar="P,…", help="the paths to compare [the profile's own]")
    add("--reference", default=REFERENCE, choices=list(REFERENCES), help=f"[{REFERENCE}]")
    add("--ranges", type=int, default=2, metavar="N", help="source ranges of 32 KiB each [2]")
    add("--actions", default="", metavar="A,…", help="what to do [what every path can be done]")
    add("--quirks", type=Path, metavar="FILE", help="known differences")
    add("--hang-deadline", type=float, default=10.0, metavar="S", help="seconds to complete [10]")
    given = parser.parse_args(args)
    paths = tuple(dict.fromkeys(name for name in given.paths.split(",") if name))
    for name in paths:
        if name not in all_paths():
            raise UsageError(f"no offload path {name}", hint=f"there are: {', '.join(all_paths())}")
    if given.ranges < 1:
        raise UsageError(f"{NAME}: --ranges must be positive")
    if not 0 < given.hang_deadline <= MAX_DEADLINE:
        raise UsageError(f"{NAME}: --hang-deadline must be within {MAX_DEADLINE:.0f} s")
    known = tuple(quirks.load(given.quirks)) if given.quirks else ()
    actions = registry.named(given.actions) or registry.named(ACTIONS)
    return ConformanceOptions(
        paths, given.ranges, actions, given.hang_deadline, known, given.reference
    )
