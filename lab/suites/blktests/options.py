"""The arguments of blktests: those of the lab, and those of check that select tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.suites import external_options as driving
from lab.suites.arguments import Parser
from lab.suites.external_options import Driving

QUICK = 30
"""Seconds for tests that can be timed when nothing is selected, check's own default of -q."""


@dataclass(frozen=True)
class Options(Driving):
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
    quick: int = 0
    devices: tuple[str, ...] = ()
    config: str = ""

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "select": list(self.names),
            "groups": list(self.groups),
            "excluded": list(self.excluded),
            "quick": self.quick,
            "devices": list(self.devices),
            "config": self.config,
            **self.driving(),
        }


def parse(args: list[str]) -> Options:
    """Read the suite's arguments, and a list of tests on stdin where one is `-`.  Raises
    UsageError."""
    given = _parser().parse_intermixed_args(args)
    names = tuple(name.rstrip("/") for name in driving.names(given.tests))
    groups = _words(given.g)
    if given.q is not None and given.q < 1:
        raise UsageError("blktests: -q is in seconds, at least one")
    selected = names or groups
    return Options(
        names, groups, _words(given.x), given.q or (0 if selected else QUICK),
        tuple(dict.fromkeys(given.device)), _content(given.config) if given.config else "",
        **driving.read("blktests", given),
    )  # fmt: skip


def _parser() -> Parser:
    parser = Parser("blktests")
    add = parser.add_argument
    add("-g", action="append", default=[], metavar="GROUP,…", help="groups to run, as loop")
    add("-x", action="append", default=[], metavar="NAME,…", help="groups and tests not to")
    add("-q", type=int, metavar="S", help="quick tests only, and those that can end after S s")
    add("--device", action="append", default=[], metavar="NAME", help="to test on [all free ones]")
    add("--config", type=Path, metavar="FILE", help="more settings, as in blktests' config")
    driving.add(parser)
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
