# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of cryptsetup's tests, and which scripts, or parts of scripts, they mean."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.suites.arguments import Parser
from lab.suites.cryptsetup.parts import SEPARATOR, parts
from lab.suites.upstream.options import DrivingOptions, add_driving, read_driving, read_names

MAKEFILE = "tests/Makefile"

_CONTINUED = re.compile(r"\\\n")
_VARIABLE = re.compile(r"^(?P<name>TESTS|am__append_\d+) = (?P<value>.*)$", re.MULTILINE)
_REFERENCE = re.compile(r"\$\((?P<name>\w+)\)")


@dataclass(frozen=True)
class CryptsetupOptions(DrivingOptions):
    """What was asked for."""

    names: tuple[str, ...] = ()
    """Scripts, SCRIPT:PART, and patterns of both; none: all that `make check` runs."""
    tasklets: bool = False
    """Whatever veritysetup activates is to be verified in a tasklet."""

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {"select": list(self.names), "use_tasklets": self.tasklets, **self.driving()}


def parse(args: Sequence[str]) -> CryptsetupOptions:
    """Read the suite's arguments, and a list of scripts on stdin where one is `-`.  Raises
    UsageError."""
    parser = Parser("cryptsetup")
    add_driving(parser)
    what = "veritysetup is told so whenever it activates a device"
    parser.add_argument("--use-tasklets", action="store_true", help=what)
    what = "as verity-compat-test, or a pattern; `-` reads a list from stdin [all of make check]"
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT[:PART]", help=what)
    given = parser.parse_intermixed_args(args)
    names = read_names(given.scripts)
    return CryptsetupOptions(names, given.use_tasklets, **read_driving("cryptsetup", given))


def select(tree: Path, options: CryptsetupOptions) -> dict[str, str]:
    """The scripts and programs in the tree's tests that are meant, in the order of `make check`;
    of a part the script that does nothing else, of all others nothing.

    Raises UsageError for one that is not there, or not built.
    """
    listed = make_check((tree / MAKEFILE).read_text())
    if not options.names:
        return dict.fromkeys(listed, "")
    there = sorted(p.name for p in (tree / "tests").iterdir() if _is_program(p))
    chosen: dict[str, str] = {}
    for pattern in options.names:
        script, separator, part = pattern.partition(SEPARATOR)
        found = [name for name in [*listed, *there] if fnmatchcase(name, script)]
        if not set(found) & set(there):
            raise UsageError(f"cryptsetup: the tree has no test {script}", hint=f"see {tree}/tests")
        if separator:
            chosen |= _parts(tree, dict.fromkeys(found), part)
        else:
            chosen |= dict.fromkeys(found, "")
    return chosen


def _parts(tree: Path, scripts: Iterable[str], pattern: str) -> dict[str, str]:
    """The parts of scripts that a pattern means: by their names, with or without the number, in the
    order in which they stand."""
    there: dict[str, str] = {}
    for script in scripts:
        text = (tree / "tests" / script).read_bytes()
        if text.startswith(b"#!") and b"sh" in text.partition(b"\n")[0]:
            there |= {f"{script}{SEPARATOR}{part.name}": part.text for part in parts(text.decode())}
    found = {name: text for name, text in there.items() if _means(pattern, name)}
    if not found:
        names = " ".join(there) or "none: it cannot be told apart what the script does"
        raise UsageError(f"cryptsetup: no part {pattern}", hint=f"there are {names}")
    return found


def _means(pattern: str, name: str) -> bool:
    part = name.partition(SEPARATOR)[2]
    return any(fnmatchcase(one, pattern) for one in (part, part.partition(".")[0]))


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
