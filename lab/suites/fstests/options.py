"""The arguments of fstests: those of the lab, and those of check that select cases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.suites import external_options as driving
from lab.suites.arguments import Parser
from lab.suites.external_options import Driving
from lab.suites.faulted.plan import Plan, load
from lab.suites.sections import ROLES, TYPES

DEFAULT_GROUP = "quick"
"""What runs when nothing is selected: check's own `auto` takes hours."""

POOL = "pool"


@dataclass(frozen=True)
class Options(Driving):
    """What was asked for.  `deadline` is in seconds on hardware; `filters` are options of check,
    `excluded` the contents of files that list cases to leave out."""

    names: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    fs: tuple[str, ...] = ()
    devices: Mapping[str, str] = field(default_factory=dict)
    pool: tuple[str, ...] = ()
    faults: Plan | None = None

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "select": [*self.filters, *self.names],
            "excluded": [line for text in self.excluded for line in driving.entries(text)],
            "fs": list(self.fs),
            "devices": dict(self.devices) | ({POOL: list(self.pool)} if self.pool else {}),
            **self.driving(),
            "faults": [str(fault) for fault in self.faults or ()],
        }


def parse(args: list[str]) -> Options:
    """Read the suite's arguments, and a list of cases on stdin where one is `-`.  Raises
    UsageError."""
    given = _parser().parse_intermixed_args(args)
    fs = tuple(name for text in given.fs for name in text.split(",") if name)
    for name in fs:
        if name not in TYPES:
            raise UsageError(f"fstests: no file system {name}", hint=f"--fs {'|'.join(TYPES)}")
    names = driving.names(given.tests)
    filters = [
        word for option in ("-g", "-x", "-e") for value in getattr(given, option[1])
        for word in (option, value)
    ]  # fmt: skip
    if not names and not given.g:
        filters += ["-g", DEFAULT_GROUP]
    devices = dict(_device(text) for text in given.device)
    pool = tuple(devices.pop(POOL, "").split(",")) if POOL in devices else ()
    return Options(
        names, tuple(filters), tuple(_content(path) for path in given.E), fs, devices, pool,
        load(given.faults) if given.faults else None, **driving.read("fstests", given),
    )  # fmt: skip


def _parser() -> Parser:
    parser = Parser("fstests")
    add = parser.add_argument
    for option, what in (("-g", "groups to run"), ("-x", "groups not to"), ("-e", "tests not to")):
        add(option, action="append", default=[], metavar="LIST", help=what)
    add("-E", action="append", default=[], type=Path, metavar="FILE", help="a list of the same")
    add("--fs", action="append", default=[], metavar="TYPE,…", help="file systems, a section each")
    add("--device", action="append", default=[], metavar="ROLE=NAME", help="as TEST_DEV=disk")
    add("--faults", type=Path, metavar="FILE", help="faults made meanwhile; see docs/suites.md")
    driving.add(parser)
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


def _content(path: Path) -> str:
    """A file that lists cases.  Raises UsageError when it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"fstests: -E {path}: {error}") from error
