# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of fstests: those of the lab, and those of check that select cases."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.suites.arguments import Parser
from lab.suites.fstests.faults.plan import FaultPlan, load
from lab.suites.fstests.sections import ROLES, TYPES
from lab.suites.upstream.exclusions import Lists
from lab.suites.upstream.habits import Habit, answer
from lab.suites.upstream.options import DrivingOptions, add_driving, read_driving, read_names

DEFAULT_GROUP = "quick"
"""What runs when nothing is selected: check's own `auto` takes hours."""

POOL = "pool"

NUMBER = re.compile(r"\d{3}-?[A-Za-z0-9-]*\Z")
"""A test in the directory of its file system (fstests' common/test_names)."""
_TEST = re.compile(r"[a-z0-9_-]+/(\d{3}-?[A-Za-z0-9-]*|[\d\]!-]*[?*\[][\d?*\[\]!-]*)")
"""A test, or a pattern of tests."""

_KEPT = "all that a test says is kept: lab results show RUN"
_TIMES = "timeline.jsonl in the run's directory has all times"
_OTHERS = "profiles say what is tested: lab profile list; --fs TYPE"
HABITS = {
    "-c": Habit("the lab writes it from the profile: mkfs and mount options stand in its layers, "
                "devices with --device ROLE=NAME", 1),
    "-R": Habit("of any run afterwards: lab results export RUN --to junit", 1),
    "-I": Habit("--loop N runs each test N times and tells how often it passed; it does not stop "
                "at a failure", 1),
    "-i": Habit("--loop N", 1),
    "-L": Habit("--loop N runs each test N times, whether it fails or not", 1),
    "-n": Habit("with --keep the guest stays up, in which ./check -n lists; see docs/suites.md"),
    "-r": Habit("tests run in check's order"),
    "--exact-order": Habit("tests run in check's order"),
    "-d": Habit(_KEPT),
    "-l": Habit(_KEPT),
    "-udiff": Habit(_KEPT),
    "-b": Habit("the summary is at the end of the run; --json before the -- is for machines"),
    "-T": Habit(_TIMES),
    "--large-fs": Habit("the profile says how large devices are: --set 'devices[0]…size=100G'"),
    "--extra-space": Habit("the profile says how large devices are: --set 'devices[0]…size=1G'", 1),
    "-nfs": Habit("a profile with NFS, as nfs42, and --fs nfs"),
    **{f"-{fs}": Habit(_OTHERS) for fs in (
        "afs", "glusterfs", "cifs", "9p", "fuse", "virtiofs", "overlay", "pvfs2", "tmpfs", "ubifs",
    )},
}  # fmt: skip
"""What people type after check (its usage()) that the lab has otherwise."""


def is_test(word: str) -> bool:
    """Whether a word in a list stands for tests."""
    return _TEST.fullmatch(word) is not None


@dataclass(frozen=True)
class FstestsOptions(DrivingOptions):
    """What was asked for.  `deadline` is in seconds on hardware; `filters` are options of check,
    `excluded` lists of cases to leave out, `inner` the names of such lists in the directories of
    the tree's tests; `sections` and `not_sections` are by name."""

    names: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    excluded: Lists = field(default_factory=lambda: Lists("fstests", is_test))
    inner: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    not_sections: tuple[str, ...] = ()
    fs: tuple[str, ...] = ()
    devices: Mapping[str, str] = field(default_factory=dict)
    pool: tuple[str, ...] = ()
    faults: FaultPlan | None = None

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "select": [*self.filters, *self.names],
            "excluded": [*map(str, self.excluded.paths), *self.inner],
            "sections": list(self.sections),
            "not_sections": list(self.not_sections),
            "fs": list(self.fs),
            "devices": dict(self.devices) | ({POOL: list(self.pool)} if self.pool else {}),
            **self.driving(),
            "faults": [str(fault) for fault in self.faults or ()],
        }


def parse(args: Sequence[str]) -> FstestsOptions:
    """Read the suite's arguments, and a list of cases on stdin where one is `-`.  Raises
    UsageError."""
    given = _parser().parse_intermixed_args(args)
    for path in given.E:
        if not path.exists():
            raise UsageError(f"fstests: -E {path}: there is no such file")
    fs = tuple(name for text in given.fs for name in text.split(",") if name)
    for name in fs:
        if name not in TYPES:
            raise UsageError(f"fstests: no file system {name}", hint=f"--fs {'|'.join(TYPES)}")
    names = read_names(given.tests)
    filters = [
        word for option in ("-g", "-x", "-e") for value in getattr(given, option[1])
        for word in (option, value)
    ]  # fmt: skip
    if not names and not given.g:
        filters += ["-g", DEFAULT_GROUP]
    devices = dict(_device(text) for text in given.device)
    pool = tuple(devices.pop(POOL, "").split(",")) if POOL in devices else ()
    return FstestsOptions(
        names, tuple(filters), Lists("fstests", is_test, tuple(given.E)), tuple(given.X),
        tuple(given.s), tuple(given.S), fs, devices, pool,
        load(given.faults) if given.faults else None, **read_driving("fstests", given),
    )  # fmt: skip


def _parser() -> Parser:
    parser = Parser("fstests")
    add = parser.add_argument
    for option, what in (("-g", "groups to run"), ("-x", "groups not to"), ("-e", "tests not to")):
        add(option, action="append", default=[], metavar="LIST", help=what)
    what = "a list of the same, or a directory of lists"
    add("-E", action="append", default=[], type=Path, metavar="FILE", help=what)
    what = "the same, in the directories of the tree's tests"
    add("-X", action="append", default=[], metavar="NAME", help=what)
    add("-s", action="append", default=[], metavar="SECTION", help="a section to run [all]")
    add("-S", action="append", default=[], metavar="SECTION", help="a section not to")
    add("--fs", action="append", default=[], metavar="TYPE,…", help="file systems, a section each")
    add("--device", action="append", default=[], metavar="ROLE=NAME", help="as TEST_DEV=disk")
    add("--faults", type=Path, metavar="FILE", help="faults made meanwhile; see docs/suites.md")
    add_driving(parser)
    answer(parser, "fstests", HABITS)
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
