# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of crash-states."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.crash.states import StatePlan
from lab.errors import UsageError
from lab.profile.units import parse_size
from lab.suites.arguments import Help, Parser
from lab.suites.crash_states.copies import CopyWorkload
from lab.suites.crash_states.plants import PLANTS

COPIES = "copies"
WORKLOADS = {COPIES: "copies of all shapes, judged on raw sectors"}

_SIZE = "4M"
_MOST = 1_000_000_000


@dataclass(frozen=True)
class CrashOptions:
    """What was asked for: a workload, which states are looked at, and a defect to plant."""

    workload: str
    copies: CopyWorkload
    plan: StatePlan
    path: str = ""
    ref: str = ""
    fua: bool = False
    plant: str = ""
    recording: str = ""
    """The run whose recording is judged, instead of a new one."""

    def document(self) -> dict[str, Any]:
        """Its JSON; `seed` is there to be repeated."""
        return {
            "workload": self.workload,
            "path": self.path or None,
            "on": self.ref or None,
            "fua": self.fua,
            "size": self.copies.size,
            "ranges": self.copies.ranges,
            "blocks": self.copies.blocks,
            "seed": self.plan.seed,
            "losses": self.plan.losses,
            "samples": self.plan.samples,
            "limit": self.plan.limit,
            "tears": self.plan.tears,
            "plant": self.plant or None,
            "recording": self.recording or None,
        }


def parse(args: Sequence[str]) -> CrashOptions:
    """Read the suite's arguments.  Raises UsageError, or Help where that is asked for."""
    given = _parser().parse_args(args)
    if given.plant == "help":
        listed = (f"{kind:<22} {plant.rule:<11} {plant.does}" for kind, plant in PLANTS.items())
        raise Help("\n".join(listed))
    if given.plant and given.plant not in PLANTS:
        raise UsageError(
            f"crash-states: no defect {given.plant!r} to plant", hint="--plant help lists them"
        )
    if given.workload not in WORKLOADS:
        raise UsageError(
            f"crash-states: no workload {given.workload}", hint=f"there are: {', '.join(WORKLOADS)}"
        )
    for name, least in (("losses", 0), ("samples", 0), ("limit", 1), ("ranges", 1), ("blocks", 1)):
        if not least <= getattr(given, name) <= _MOST:
            raise UsageError(f"crash-states: --{name} must be within {least} and {_MOST}")
    seed = secrets.randbits(32) if given.seed is None else given.seed
    try:
        size = parse_size(given.size)
    except ValueError as error:
        raise UsageError(f"crash-states: --size: {error}") from error
    copies = CopyWorkload(size, given.ranges, given.blocks, seed)
    plan = StatePlan(given.losses, given.samples, given.limit, given.tears, seed)
    return CrashOptions(
        given.workload, copies, plan, given.path, given.on, given.fua, given.plant,
        given.recording,
    )  # fmt: skip


def _parser() -> Parser:
    parser = Parser("crash-states")
    add = parser.add_argument
    kinds = "; ".join(f"{name}: {does}" for name, does in WORKLOADS.items())
    add("--workload", default=COPIES, metavar="W", help=f"{kinds} [copies]")
    add("--path", default="", help="offload path of copies [nvme-copy]")
    add("--layer", dest="on", default="", metavar="NAME", help="disk or layer to copy on")
    add("--size", default=_SIZE, metavar="SIZE", help="of all that copies touch [4M]")
    add("--ranges", type=int, default=6, metavar="N", help="most source ranges of a copy [6]")
    add("--blocks", type=int, default=64, metavar="N", help="most blocks of a range [64]")
    add("--fua", action="store_true", help="ask for copies that are durable by themselves")
    add("--seed", type=int, metavar="N", help="of the workload and of samples [drawn, and told]")
    add("--losses", type=int, default=2, metavar="K", help="lost writes at most, every choice [2]")
    add("--samples", type=int, default=1000, metavar="N", help="more states of an epoch [1000]")
    add("--limit", type=int, default=50_000, metavar="N", help="most choices of an epoch [50000]")
    add("--no-tears", dest="tears", action="store_false", help="tear no writes")
    add("--plant", default="", metavar="KIND", help="plant a defect; `help` lists the kinds")
    add("--recording", default="", metavar="RUN", help="judge what RUN recorded: boots nothing")
    return parser
