# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of blktests: those of the lab, and those of check that select tests."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.suites.arguments import Parser
from lab.suites.upstream.exclusions import Lists
from lab.suites.upstream.habits import Habit, answer
from lab.suites.upstream.options import DrivingOptions, add_driving, read_driving, read_names

QUICK = 30
"""Seconds for tests that can be timed when nothing is selected, check's own default of -q."""

_TEST = re.compile(r"[a-z][a-z0-9_-]*(/(\d{3}|[\d\]!-]*[?*\[][\d?*\[\]!-]*))?")
"""A test, a pattern of tests, or a group."""

HABITS = {
    "-d": Habit("all free devices of the profile are tested on; --device NAME: only that"),
    "--device-only": Habit("tests that want a device have all free ones of the profile"),
    "-o": Habit("results are in the run's directory: lab results show RUN", 1),
    "--output": Habit("results are in the run's directory: lab results show RUN", 1),
    "-t": Habit("by hand, in a guest that --keep leaves up; see docs/blktests.md"),
    "--cmd-trace": Habit("by hand, in a guest that --keep leaves up; see docs/blktests.md"),
}
"""What people type after check (its usage) that the lab has otherwise."""


def is_test(word: str) -> bool:
    """Whether a word in a list stands for tests."""
    return _TEST.fullmatch(word) is not None


@dataclass(frozen=True)
class BlktestsOptions(DrivingOptions):
    """What was asked for.

    `quick` is the seconds that tests take which can be timed, and leaves those out of groups that
    are neither quick nor timed; 0: all tests, for as long as they take.  `config` is the content
    of a file of settings.
    """

    names: tuple[str, ...] = ()
    """Tests, patterns of them, and groups."""
    groups: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    """Tests and groups."""
    lists: Lists = field(default_factory=lambda: Lists("blktests", is_test))
    """Of tests and groups to leave out, named or not."""
    quick: int = 0
    devices: tuple[str, ...] = ()
    config: str = ""

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "select": list(self.names),
            "groups": list(self.groups),
            "excluded": list(self.excluded),
            "lists": list(map(str, self.lists.paths)),
            "quick": self.quick,
            "devices": list(self.devices),
            "config": self.config,
            **self.driving(),
        }


def parse(args: Sequence[str]) -> BlktestsOptions:
    """Read the suite's arguments, and a list of tests on stdin where one is `-`.  Raises
    UsageError."""
    given = _parser().parse_intermixed_args(args)
    names = tuple(name.rstrip("/") for name in read_names(given.tests))
    groups = _words(given.g)
    if given.quick is not None and given.quick < 1:
        raise UsageError("blktests: -q is in seconds, at least one")
    for path in given.E:
        if not path.exists():
            raise UsageError(f"blktests: -E {path}: there is no such file")
    selected = names or groups
    return BlktestsOptions(
        names, groups, _words(given.exclude), Lists("blktests", is_test, tuple(given.E)),
        given.quick or (0 if selected else QUICK),
        tuple(dict.fromkeys(given.device)), _content(given.config) if given.config else "",
        **read_driving("blktests", given),
    )  # fmt: skip


def _parser() -> Parser:
    parser = Parser("blktests")
    add = parser.add_argument
    add("-g", action="append", default=[], metavar="GROUP,…", help="groups to run, as loop")
    add(
        "-x",
        "--exclude",
        action="append",
        default=[],
        metavar="NAME,…",
        help="groups and tests not to",
    )
    what = "a list of tests and groups not to, or a directory of such lists"
    add("-E", action="append", default=[], type=Path, metavar="FILE", help=what)
    add(
        "-q",
        "--quick",
        type=int,
        metavar="S",
        help="quick tests only, and those that can end after S s",
    )
    add("--device", action="append", default=[], metavar="NAME", help="to test on [all free ones]")
    add("-c", "--config", type=Path, metavar="FILE", help="more settings, as in blktests' config")
    add_driving(parser)
    answer(parser, "blktests", HABITS)
    what = "as loop/001, 'nvme/00?' or loop; `-` reads a list from stdin"
    add("tests", nargs="*", metavar="TEST", help=what)
    return parser


def _words(lists: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for text in lists for word in text.split(",") if word))


def _content(path: Path) -> str:
    """A file of settings.  Raises UsageError when it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"blktests: --config {path}: {error}") from error
