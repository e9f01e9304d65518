# SPDX-License-Identifier: GPL-2.0-or-later
"""gcov and gcov-tool of the compiler that compiled the kernel: counts added up, and told by line.

Counts and notes lie in one directory without others in it, under the path of the object with `#`
for each slash.
"""

import json
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path, PurePosixPath
from typing import Any

from lab.artifacts.kernels.notes import KernelNotes
from lab.errors import HostError, LackError
from lab.host import cures
from lab.host.command import run

_DEADLINE = 600.0
"""Seconds for one call; all objects of block, drivers/nvme and drivers/block take two."""

# gcc/gcov-io.h: a note begins with this and the version, in the byte order of the machine.
_MAGIC = b"oncg"
_LARGEST = 4 << 20
"""Bytes of one object's counts at most."""


@dataclass(frozen=True)
class LineCount:
    """How often a line was executed, and the function that it is of."""

    count: int
    function: str


Lines = dict[str, dict[int, LineCount]]
"""By source file and number, those that have code."""


class Gcov:
    """The programs for a kernel's notes."""

    def __init__(self, notes: KernelNotes) -> None:
        """Raises LackError where they are not installed, HostError where nothing is noted."""
        self._notes = notes
        self._objects = {
            str(path.relative_to(notes.notes).with_suffix("")): path
            for path in sorted(notes.notes.rglob("*.gcno"))
        }
        if not self._objects:
            raise HostError(f"{notes.notes}: no notes are kept there")
        major = _compiler(next(iter(self._objects.values())))
        self._gcov = _program("gcov", major)
        self._tool = _program("gcov-tool", major)

    def total(self, archives: Iterable[Path], place: Path) -> Path:
        """The directory in `place` with the sum of what these hold, which is gone with that.

        Raises HostError.
        """
        total = place / "total"
        total.mkdir()
        for number, archive in enumerate(archives):
            one, both = place / f"one-{number}", place / f"both-{number}"
            one.mkdir()
            self._unpack(archive, one)
            if not any(one.iterdir()):
                continue
            if any(total.iterdir()):
                run([self._tool, "merge", total, one, "--output", both], deadline=_DEADLINE)
                shutil.rmtree(one)
            else:
                both = one
            shutil.rmtree(total)
            both.replace(total)
        return total

    def read(self, total: Path) -> Lines:
        """All lines with code of all objects, by the counts in a directory.  Raises HostError."""
        for name, note in self._objects.items():
            (total / f"{_flat(name)}.gcno").symlink_to(note)
        names = [f"{_flat(name)}.gcno" for name in self._objects]
        argv = [self._gcov, "--json-format", "--stdout", *names]
        said = run(argv, deadline=_DEADLINE, cwd=total)
        found: Lines = {}
        for document in filter(None, said.splitlines()):
            self._add(found, _decoded(document))
        return found

    def _unpack(self, archive: Path, target: Path) -> None:
        """Lay out the counts of objects that are known.  Raises HostError."""
        try:
            with zipfile.ZipFile(archive) as packed:
                for member in packed.infolist():
                    name = self._object(member.filename)
                    if name and member.file_size <= _LARGEST:
                        (target / f"{_flat(name)}.gcda").write_bytes(packed.read(member))
        except (OSError, zipfile.BadZipFile) as error:
            raise HostError(f"{archive}: cannot be read: {error}") from error

    def _object(self, path: str) -> str:
        """The object that counts are of, by its path when it was compiled; '' for none of ours."""
        parts = PurePosixPath(path).with_suffix("").parts
        names = ("/".join(parts[at:]) for at in range(len(parts)))
        return next((name for name in names if name in self._objects), "")

    def _add(self, found: Lines, document: dict[str, Any]) -> None:
        """Add what gcov says of an object."""
        where = document.get("current_working_directory", "")
        for file in document["files"]:
            if not (name := self._source(where, file["file"])):
                continue
            lines = found.setdefault(name, {})
            for line in file["lines"]:
                number, count = line["line_number"], line["count"]
                before = lines.get(number)
                function = line.get("function_name", "")
                lines[number] = LineCount(
                    count + (before.count if before else 0), before.function if before else function
                )

    def _source(self, where: str, file: str) -> str:
        """A source file relative to the sources; '' for what is elsewhere, or was made."""
        path = PurePosixPath(normpath(PurePosixPath(where, file)))
        for origin in self._notes.origin:
            if path.is_relative_to(origin):
                return str(path.relative_to(origin))
        return "" if path.is_absolute() else str(path)


def _flat(name: str) -> str:
    return name.replace("/", "#")


def _decoded(document: str) -> dict[str, Any]:
    try:
        found = json.loads(document)
    except ValueError as error:
        raise HostError(f"gcov says what is no JSON: {document[:200]}") from error
    assert isinstance(found, dict)
    return found


def _compiler(note: Path) -> int:
    """The major version of the compiler that wrote a note, which every gcov insists on.

    gcc/gcov-iov.c: `A` and tens, units, and the minor version, as characters.
    """
    head = note.open("rb").read(8)
    if head[:4] != _MAGIC or not head[7:8].isupper():
        raise HostError(f"{note}: no notes of gcc for x86-64: {head!r}")
    return (head[7] - ord("A")) * 10 + head[6] - ord("0")


def _program(name: str, major: int) -> str:
    for program in (f"{name}-{major}", name):
        if shutil.which(program) and _version(program) == major:
            return program
    raise LackError(
        f"{name} of gcc {major}, which compiled the kernel, is not here",
        hint=cures.install("gcc").here(),
    )


def _version(program: str) -> int:
    words = run([program, "--version"], deadline=10).partition("\n")[0].split()
    return int(words[-1].partition(".")[0])
