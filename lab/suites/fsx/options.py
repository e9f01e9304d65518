# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of fsx."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.foreign import decoded
from lab.suites.arguments import Parser
from lab.suites.fsx.operations import KINDS, Operation

MAX_CASES, MAX_OPS = 10_000, 100_000


@dataclass(frozen=True)
class FsxOptions:
    """What was asked for.  `deadline` is in seconds: of an operation of the lab's own exerciser, of
    a case on hardware otherwise."""

    seed: int
    cases: int = 1
    ops: int = 1000
    kinds: tuple[str, ...] = KINDS
    on: str = ""
    """The file system to work on."""
    shutdown: str = ""
    """The file system that is shut down in the middle of each case."""
    replay: tuple[Operation, ...] = ()
    """Operations of an earlier case, instead of drawn ones."""
    deadline: float | None = None

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "seed": self.seed,
            "cases": self.cases,
            "ops": len(self.replay) or self.ops,
            "kinds": list(self.kinds),
            "on": self.on or None,
            "shutdown": self.shutdown or None,
            "replayed": bool(self.replay),
            "deadline": self.deadline,
        }


def parse(args: Sequence[str]) -> FsxOptions:
    """Read the suite's arguments.  Raises UsageError, or Help where that is asked for."""
    given = _parser().parse_args(args)
    if not 1 <= given.cases <= MAX_CASES or not 1 <= given.ops <= MAX_OPS:
        raise UsageError(
            f"fsx: --cases must be within 1 and {MAX_CASES}, --ops within 1 and {MAX_OPS}"
        )
    kinds = tuple(dict.fromkeys(given.kinds.split(","))) if given.kinds else KINDS
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"fsx: no operation {kind}", hint=f"there are: {', '.join(KINDS)}")
    if set(kinds) <= {"fsync"}:
        raise UsageError("fsx: nothing to do but fsync")
    if given.deadline is not None and not 0 < given.deadline <= 86400:
        raise UsageError("fsx: --deadline is in seconds, at most a day")
    seed = secrets.randbits(32) if given.seed is None else given.seed
    return FsxOptions(
        seed, given.cases, given.ops, kinds, given.on, given.shutdown,
        _log(given.replay) if given.replay else (), given.deadline,
    )  # fmt: skip


def _parser() -> Parser:
    parser = Parser("fsx")
    add = parser.add_argument
    add("--seed", type=int, metavar="N", help="of the operations [drawn, and told]")
    add("--cases", type=int, default=1, metavar="N", help="so many, each with its own seed [1]")
    add("--ops", type=int, default=1000, metavar="N", help="operations in each [1000]")
    add("--kinds", default="", metavar="K,…", help="only these operations")
    add("--on", default="", metavar="FS", help="file system to work on [the profile's last]")
    add("--shutdown", default="", metavar="FS", help="shut this one down in the middle")
    add("--replay", type=Path, metavar="FILE", help="operations of a log, not drawn ones")
    add("--deadline", type=float, metavar="S", help="seconds for a case")
    return parser


def _log(path: Path) -> tuple[Operation, ...]:
    """The operations in a case's log.  Raises UsageError when it is none."""
    try:
        lines = path.read_text().splitlines()
        return tuple(Operation.read(decoded(line)["request"]) for line in lines)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(
            f"fsx: --replay {path}: no log of operations: {error}",
            hint="a run has one as cases/…/operations.jsonl",
        ) from error
