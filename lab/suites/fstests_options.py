"""The arguments of fstests: those of the lab, and those of check that select cases."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.suites.arguments import Parser
from lab.suites.faulted.plan import Plan, load
from lab.suites.sections import ROLES, TYPES

DEFAULT_GROUP = "quick"
"""What runs when nothing is selected: check's own `auto` takes hours."""

MAX_SHARDS = 64
MAX_LOOP = 1000
POOL = "pool"


@dataclass(frozen=True)
class Options:
    """What was asked for.  `deadline` is in seconds on hardware; `filters` are options of check,
    `excluded` the contents of files that list cases to leave out."""

    names: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    fs: tuple[str, ...] = ()
    devices: Mapping[str, str] = field(default_factory=dict)
    pool: tuple[str, ...] = ()
    shards: int = 1
    loop: int = 1
    deadline: float | None = None
    known: Path | None = None
    image: str = ""
    keep: bool = False
    faults: Plan | None = None

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "select": [*self.filters, *self.names],
            "excluded": [line for text in self.excluded for line in _entries(text)],
            "fs": list(self.fs),
            "devices": dict(self.devices) | ({POOL: list(self.pool)} if self.pool else {}),
            "shards": self.shards,
            "loop": self.loop,
            "deadline": self.deadline,
            "known": str(self.known) if self.known else None,
            "faults": [str(fault) for fault in self.faults or ()],
        }


def parse(args: list[str]) -> Options:
    """Read the suite's arguments, and a list of cases on stdin where one is `-`.  Raises
    UsageError."""
    given = _parser().parse_intermixed_args(args)
    _within("--shards", given.shards, MAX_SHARDS)
    _within("--loop", given.loop, MAX_LOOP)
    if given.deadline is not None and not 0 < given.deadline <= 86400:
        raise UsageError("fstests: --deadline is in seconds, at most a day")
    fs = tuple(name for text in given.fs for name in text.split(",") if name)
    for name in fs:
        if name not in TYPES:
            raise UsageError(f"fstests: no file system {name}", hint=f"--fs {'|'.join(TYPES)}")
    names = tuple(name for name in given.tests if name != "-")
    if "-" in given.tests:
        names += tuple(_entries(sys.stdin.read()))
    filters = [
        word for option in ("-g", "-x", "-e") for value in getattr(given, option[1])
        for word in (option, value)
    ]  # fmt: skip
    if not names and not given.g:
        filters += ["-g", DEFAULT_GROUP]
    devices = dict(_device(text) for text in given.device)
    pool = tuple(devices.pop(POOL, "").split(",")) if POOL in devices else ()
    return Options(
        tuple(dict.fromkeys(names)), tuple(filters), tuple(_content(path) for path in given.E),
        fs, devices, pool, given.shards, given.loop, given.deadline, given.known, given.image,
        given.keep, load(given.faults) if given.faults else None,
    )  # fmt: skip


def _parser() -> Parser:
    parser = Parser("fstests")
    add = parser.add_argument
    for option, what in (("-g", "groups to run"), ("-x", "groups not to"), ("-e", "tests not to")):
        add(option, action="append", default=[], metavar="LIST", help=what)
    add("-E", action="append", default=[], type=Path, metavar="FILE", help="a list of the same")
    add("--fs", action="append", default=[], metavar="TYPE,…", help="file systems, a section each")
    add("--device", action="append", default=[], metavar="ROLE=NAME", help="as TEST_DEV=disk")
    add("--shards", type=int, default=1, metavar="N", help="guests at once [1]")
    add("--loop", type=int, default=1, metavar="N", help="runs of each test, for a ratio [1]")
    add("--deadline", type=float, metavar="S", help="seconds for a test [by its history]")
    add("--known", type=Path, metavar="FILE", help="known failures")
    add("--faults", type=Path, metavar="FILE", help="faults made meanwhile; see docs/suites.md")
    add("--image", default="", help="image of the guest")
    add("--keep", action="store_true", help="leave the guest up afterwards")
    add("tests", nargs="*", metavar="TEST", help="as generic/001; `-` reads a list from stdin")
    return parser


def _device(text: str) -> tuple[str, str]:
    role, _, name = text.partition("=")
    if role not in (*ROLES, POOL) or not name:
        roles = ", ".join((*ROLES, POOL))
        raise UsageError(
            f"fstests: --device {text}: expected ROLE=NAME", hint=f"roles: {roles} (a list)"
        )
    return role, name


def _within(option: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise UsageError(f"fstests: {option} must be within 1 and {most}")


def _content(path: Path) -> str:
    """A file that lists cases.  Raises UsageError when it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"fstests: -E {path}: {error}") from error


def _entries(text: str) -> list[str]:
    """The cases in a list: words, up to a `#`."""
    return [word for line in text.splitlines() for word in line.partition("#")[0].split()]
