# SPDX-License-Identifier: GPL-2.0-or-later
"""Which objects of a kernel count what they execute: gcov, for directories and files.

The sources are not touched.  Documentation/dev-tools/gcov.rst has it done by lines in Makefiles;
scripts/Makefile.lib looks at `CONFIG_GCOV_PROFILE_ALL` behind these for each object, so that a
value of it on make's command line which depends on the object does the same, and leaves alone
those that must not be counted (`GCOV_PROFILE := n`).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from lab.errors import UsageError

FRAGMENT = "gcov"
"""The fragment of a kernel's configuration that counting needs."""
OPTION = "CONFIG_GCOV_KERNEL"

_FLAG = "-ftest-coverage"
_EXAMPLE = "such as drivers/nvme,block,drivers/block/loop.c"
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")


def paths(text: str) -> tuple[str, ...]:
    """The directories and files of sources that a list with commas names, in order, each once.

    Raises UsageError for what is none.
    """
    names = [name.strip().removeprefix("./").rstrip("/") for name in text.split(",")]
    found = tuple(sorted({name for name in names if name}))
    for name in found:
        if not _PATH.fullmatch(name):
            raise UsageError(
                f"coverage {name}: no directory or file of a kernel's sources", hint=_EXAMPLE
            )
        if PurePosixPath(name).suffix in (".h", ".S", ".rs"):
            raise UsageError(
                f"coverage {name}: what counts is an object, which is compiled of a .c file",
                hint=f"name the directory or file that is, {_EXAMPLE}",
            )
    if not found:
        raise UsageError("coverage of nothing", hint=f"name directories and files, {_EXAMPLE}")
    return found


def within(file: str, places: Sequence[str]) -> bool:
    """Whether a source file is one of those, or in one of the directories."""
    return any(file == place or file.startswith(f"{place}/") for place in places)


def make_word(places: Sequence[str]) -> str:
    """The word of make's command line that has the objects of these places count."""
    patterns = (f"{one[:-2]}.o" if one.endswith(".c") else f"{one}/%" for one in places)
    return f"CONFIG_GCOV_PROFILE_ALL=$(if $(filter {' '.join(patterns)},$(obj)/$(target-stem).o),y)"


def check_sources(tree: Path, places: Sequence[str]) -> None:
    """Raise UsageError for places that the sources do not have."""
    if absent := [place for place in places if not (tree / place).exists()]:
        raise UsageError(f"coverage: the sources have no {', '.join(absent)}")


def notes(out: Path) -> Iterator[Path]:
    """The notes (.gcno) of all objects of a build directory that count, relative to it.

    What an earlier build left there of objects that do not count any more stays out.
    """
    for note in sorted(out.rglob("*.gcno")):
        command = note.with_name(f".{note.stem}.o.cmd")
        if command.is_file() and _FLAG in command.read_text(errors="replace"):
            yield note.relative_to(out)


def source_of(note: Path) -> str:
    """The source file of an object, by its note."""
    return str(note.with_suffix(".c"))
