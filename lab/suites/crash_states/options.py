# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of crash-states."""

import argparse
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab.crash.states import StatePlan
from lab.errors import UsageError
from lab.profile.units import parse_size
from lab.suites.arguments import Help, Parser
from lab.suites.crash_states.copies import CopyWorkload
from lab.suites.crash_states.fs.kinds import KINDS, SINGLE
from lab.suites.crash_states.fs.plants import FS_PLANTS
from lab.suites.crash_states.plants import PLANTS
from lab.suites.upstream.options import MAX_SHARDS

COPIES, ACE, CORPUS, COMMAND, MODEL = "copies", "ace", "corpus", "command", "model"
WORKLOADS = {
    COPIES: "copies of all shapes, judged on raw sectors",
    ACE: "each operation of a small space on a file system, or sequences of them",
    CORPUS: "what the public record says has lost something",
    COMMAND: "a command in a file system",
    MODEL: "sequences without a crash, which the model must foretell",
}
FILES = (".yaml", ".yml")
"""What names a file of workloads."""

_SIZE = "4M"
_MANY, _FEW = (2, 1000, True), (1, 0, False)
"""Losses, samples and tears: of states that the host judges, and of those that take a guest."""
_MOST = 1_000_000_000
_BOUNDS = {
    **dict.fromkeys(("losses", "samples"), (0, _MOST)),
    **dict.fromkeys(("limit", "ranges", "blocks", "sequences"), (1, _MOST)),
    "operations": (1, 8), "shards": (1, MAX_SHARDS),
}  # fmt: skip
"""What numbers may be."""


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
    file_systems: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    """Patterns of workloads on file systems."""
    operations: int = 1
    """Of each workload of `ace`; of more than one there are `sequences`, drawn from the seed."""
    sequences: int = 100
    command: str = ""
    shards: int = 1
    """Guests at once."""
    resume: str = ""
    """A run that was broken off: what it has come to is taken over."""

    @property
    def on_files(self) -> bool:
        """Whether file systems are judged, by guests."""
        return self.workload != COPIES

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
            "file_systems": list(self.file_systems),
            "only": list(self.only),
            "operations": self.operations,
            "sequences": self.sequences,
            "command": self.command or None,
            "shards": self.shards,
            "resume": self.resume or None,
        }

    def resuming(self, asked: dict[str, Any]) -> "CrashOptions":
        """What another run was asked for, by its JSON; the guests are those of this one.  Raises
        KeyError or TypeError."""
        copies = CopyWorkload(asked["size"], asked["ranges"], asked["blocks"], asked["seed"])
        plan = StatePlan(
            asked["losses"], asked["samples"], asked["limit"], asked["tears"], asked["seed"]
        )
        return replace(
            self, workload=asked["workload"], copies=copies, plan=plan, plant=asked["plant"] or "",
            file_systems=tuple(asked["file_systems"]), only=tuple(asked["only"]),
            operations=asked["operations"], sequences=asked["sequences"],
            command=asked["command"] or "",
        )  # fmt: skip


def parse(args: Sequence[str]) -> CrashOptions:
    """Read the suite's arguments.  Raises UsageError, or Help where that is asked for."""
    given = _parser().parse_args(args)
    if given.command and given.workload == COPIES:
        given.workload = COMMAND
    if given.workload not in WORKLOADS and not given.workload.endswith(FILES):
        raise UsageError(
            f"crash-states: no workload {given.workload}",
            hint=f"there are: {', '.join(WORKLOADS)}; and files of workloads, in YAML",
        )
    if (given.workload == COMMAND) != bool(given.command):
        raise UsageError(f"crash-states: {COMMAND} is the workload of --command, and none without")
    on_files = given.workload != COPIES or bool(given.resume)
    _check_plant(given.plant, on_files=on_files)
    _check(given, on_files=on_files)
    seed = secrets.randbits(32) if given.seed is None else given.seed
    return CrashOptions(
        given.workload, _copies(given, seed), _plan(given, seed, on_files=on_files), given.path,
        given.on, given.fua, given.plant, given.recording,
        tuple(filter(None, given.fs.split(","))) if on_files else (),
        tuple(filter(None, given.only.split(","))), given.operations, given.sequences,
        given.command, given.shards, given.resume,
    )  # fmt: skip


def _check(given: argparse.Namespace, *, on_files: bool) -> None:
    """Raise UsageError where an argument cannot be."""
    for name, (least, most) in _BOUNDS.items():
        value = getattr(given, name)
        if value is not None and not least <= value <= most:
            raise UsageError(f"crash-states: --{name} must be within {least} and {most}")
    for name in filter(None, given.fs.split(",")):
        if name not in KINDS:
            raise UsageError(
                f"crash-states: no file system {name}", hint=f"there are: {', '.join(KINDS)}"
            )
    if on_files and (given.recording or given.fua):
        raise UsageError("crash-states: --recording and --fua are for copies")


def _copies(given: argparse.Namespace, seed: int) -> CopyWorkload:
    try:
        size = parse_size(given.size)
    except ValueError as error:
        raise UsageError(f"crash-states: --size: {error}") from error
    return CopyWorkload(size, given.ranges, given.blocks, seed)


def _plan(given: argparse.Namespace, seed: int, *, on_files: bool) -> StatePlan:
    losses, samples, tears = _FEW if on_files else _MANY
    return StatePlan(
        losses if given.losses is None else given.losses,
        samples if given.samples is None else given.samples,
        given.limit, tears if given.tears is None else given.tears, seed,
    )  # fmt: skip


def _check_plant(wanted: str, *, on_files: bool) -> None:
    """Raise UsageError where there is no such defect, Help where they are asked for."""
    copies = {kind: f"{plant.rule:<11} {plant.does}" for kind, plant in PLANTS.items()}
    files = {kind: plant.does for kind, plant in FS_PLANTS.items()}
    listed = files if on_files else copies
    if wanted == "help":
        raise Help("\n".join(f"{kind:<22} {does}" for kind, does in listed.items()))
    if wanted and wanted not in listed:
        raise UsageError(
            f"crash-states: no defect {wanted!r} to plant", hint="--plant help lists them"
        )


def _parser() -> Parser:
    parser = Parser("crash-states")
    add = parser.add_argument
    kinds = "; ".join(f"{name}: {does}" for name, does in WORKLOADS.items())
    add("--workload", default=COPIES, metavar="W", help=f"{kinds}; FILE.yaml: yours [copies]")
    add("--path", default="", help="offload path of copies [nvme-copy]")
    add("--layer", dest="on", default="", metavar="NAME", help="disk or layer to copy on")
    add("--size", default=_SIZE, metavar="SIZE", help="of all that copies touch [4M]")
    add("--ranges", type=int, default=6, metavar="N", help="most source ranges of a copy [6]")
    add("--blocks", type=int, default=64, metavar="N", help="most blocks of a range [64]")
    add("--fua", action="store_true", help="ask for copies that are durable by themselves")
    add("--seed", type=int, metavar="N", help="of the workload and of samples [drawn, and told]")
    add("--losses", type=int, metavar="K", help="lost writes at most, every choice [2; files: 1]")
    add("--samples", type=int, metavar="N", help="more states of an epoch [1000; files: 0]")
    add("--limit", type=int, default=50_000, metavar="N", help="most choices of an epoch [50000]")
    tears = parser.add_mutually_exclusive_group()
    tears.add_argument("--tears", action="store_true", default=None, help="tear writes [copies]")
    tears.add_argument("--no-tears", dest="tears", action="store_false", help="tear none [files]")
    several = ", ".join(sorted(KINDS.keys() - set(SINGLE)))
    add("--fs", default=",".join(SINGLE), metavar="FS,…",
        help=f"file systems [{', '.join(SINGLE)}]; over two disks: {several}")  # fmt: skip
    add("--only", default="", metavar="PATTERN,…", help="workloads, as 'rename-*' [all]")
    add("--operations", type=int, default=1, metavar="N", help="operations of one of ace [1]")
    add("--sequences", type=int, default=100, metavar="N", help="how many, if of several [100]")
    add("--command", default="", metavar="TEXT", help="a command for a shell in the file system")
    add("--shards", type=int, default=1, metavar="N", help="guests at once, on files [1]")
    add("--resume", default="", metavar="RUN", help="go on with RUN, which was broken off")
    add("--plant", default="", metavar="KIND", help="plant a defect; `help` lists the kinds")
    add("--recording", default="", metavar="RUN", help="judge what RUN recorded: boots nothing")
    return parser
