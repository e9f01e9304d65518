"""The arguments of cryptsetup's tests, and which of a tree they mean."""

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.suites import external_options as driving
from lab.suites.arguments import Parser
from lab.suites.external_options import Driving

MAKEFILE = "tests/Makefile"

_CONTINUED = re.compile(r"\\\n")
_VARIABLE = re.compile(r"^(?P<name>TESTS|am__append_\d+) = (?P<value>.*)$", re.MULTILINE)
_REFERENCE = re.compile(r"\$\((?P<name>\w+)\)")


@dataclass(frozen=True)
class Options(Driving):
    """What was asked for."""

    names: tuple[str, ...] = ()
    """Scripts, and patterns of them; none: all that `make check` runs."""

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {"select": list(self.names), **self.driving()}


def parse(args: list[str]) -> Options:
    """Read the suite's arguments, and a list of scripts on stdin where one is `-`.  Raises
    UsageError."""
    parser = Parser("cryptsetup")
    driving.add(parser)
    what = "as verity-compat-test, or a pattern; `-` reads a list from stdin [all of make check]"
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=what)
    given = parser.parse_intermixed_args(args)
    return Options(driving.names(given.scripts), **driving.read("cryptsetup", given))


def select(tree: Path, options: Options) -> list[str]:
    """The scripts and programs in the tree's tests that are meant, in the order of `make check`.

    Raises UsageError for one that is not there, or not built.
    """
    listed = make_check((tree / MAKEFILE).read_text())
    if not options.names:
        return listed
    there = sorted(p.name for p in (tree / "tests").iterdir() if _is_program(p))
    chosen: list[str] = []
    for pattern in options.names:
        found = [name for name in [*listed, *there] if fnmatchcase(name, pattern)]
        if not set(found) & set(there):
            raise UsageError(
                f"cryptsetup: the tree has no test {pattern}", hint=f"see {tree}/tests"
            )
        chosen += found
    return list(dict.fromkeys(chosen))


def make_check(makefile: str) -> list[str]:
    """What `make check` runs, from the Makefile that automake wrote: as the tree is configured."""
    values = {
        found["name"]: found["value"] for found in _VARIABLE.finditer(_CONTINUED.sub(" ", makefile))
    }
    # $(EXEEXT) is empty, and so is what a condition of the configuration left out.
    text = _REFERENCE.sub(lambda found: values.get(found["name"], ""), values.get("TESTS", ""))
    return text.split()


def _is_program(path: Path) -> bool:
    return "." not in path.name and path.is_file() and os.access(path, os.X_OK)
