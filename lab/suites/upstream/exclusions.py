# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of tests that are to be left out, in the forms in which people keep them.

A list has a test in a line, with a reason: behind it, or in the comment right above.

    generic/388 # hangs, see …              as of kdevops, whose directories have a list for each
                                            section (FSTYP/unassigned/SECTION.txt, and all.txt)
    // why                                  as of xfstests-bld, whose lists go through cpp
    #if LINUX_VERSION_CODE < KERNEL_VERSION(6,9,0)
    generic/645
    #endif
    #include "encrypt.exclude"
    -g dax
"""

import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

import pcpp

from lab.errors import UsageError
from lab.guest.session import Session

Meant = Callable[[str], object]
"""Whether a word can stand for tests of a suite."""

_DIRECTIVE = re.compile(r"#\s*(if|ifdef|ifndef|elif|else|endif|include|define|undef)\b")
_UNCONDITIONAL = re.compile(r"#\s*(if|elif)")
"""With it, pcpp looks for the word behind it without seeing whether there is one."""
_INCLUDE = re.compile(r'#\s*include\s*["<]([^">]+)[">]')
_COMMENT = re.compile(r"(?P<before>.*?)(?:^|(?<=\s))(?:#|//)(?P<comment>.*)")
_RELEASE = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_GROUP = "-g"
_SHARED = "all"
"""What kdevops calls the list of all sections."""
_FAILURES = "failures"
"""What it calls its only list for blktests."""
_FORMS = ("{name}.txt", "unassigned/{name}.txt", "{fstyp}/{name}.txt", "{fstyp}/*/{name}.txt")
"""Where its lists are in the directory of a priority, a file system or a kernel."""
_INCLUDES = 100
"""More than anybody has; a list that includes itself never ends."""


@dataclass(frozen=True)
class Exclusion:
    """Tests that are to be left out, as they stand in a file; `group` is a group of the suite."""

    word: str
    reason: str
    path: Path
    line: int
    group: bool = False

    def __str__(self) -> str:
        return f"{self.reason + ', ' if self.reason else ''}{self.path}:{self.line}"


@dataclass(frozen=True)
class Lists:
    """Files and directories that were named for a suite, in which lists are found."""

    suite: str
    meant: Meant
    paths: tuple[Path, ...] = ()

    def check(self, fstyp: str = "", section: str = "") -> None:
        """Raise UsageError for what cannot be read, for a directory without a list for the section
        and for a line that is no test; whether it is for the kernel at hand is not asked."""
        for path in self._files(fstyp, section):
            reading = _ListReading(self.suite, self.meant)
            reading.scan(path)
            while reading.included:
                reading.scan(reading.included.pop())

    def entries(self, release: str, fstyp: str = "", section: str = "") -> list[Exclusion]:
        """What is meant on a kernel, by its release, and in a section.  Raises UsageError."""
        return [
            entry
            for path in self._files(fstyp, section)
            for entry in _ListReading(self.suite, self.meant).read(path, release, fstyp, section)
        ]

    def _files(self, fstyp: str, section: str) -> Iterator[Path]:
        for path in self.paths:
            if not path.is_dir():
                yield path
                continue
            names = dict.fromkeys((_SHARED, fstyp, section)) if fstyp else (_SHARED, _FAILURES)
            found = {
                each
                for name in names if name
                for form in _FORMS
                for each in path.glob(form.format(fstyp=fstyp or "*", name=name))
            }  # fmt: skip
            if not found:
                raise UsageError(
                    f"{self.suite}: -E {path}: it has no list for {section or self.suite}",
                    hint=f"it has {_some(path)}; one of these can be named",
                )
            yield from sorted(found)


def _some(directory: Path) -> str:
    there = sorted(str(path.relative_to(directory)) for path in directory.rglob("*.txt"))
    return ", ".join(there[:5] + ["…"] * (len(there) > 5)) or "no *.txt"


def left_out(
    names: Iterable[str], entries: Iterable[Exclusion], groups: Mapping[str, Collection[str]]
) -> dict[str, str]:
    """Those of some tests that are to be left out, and why.

    An entry is a test, a pattern, a directory of tests, or, as check has it, begins with a test's
    name: they have been called `xfs/191-input-validation`.  `groups` has the tests of a suite's
    groups.
    """
    found: dict[str, str] = {}
    entries = list(entries)
    for name in names:
        for entry in entries:
            if name in groups.get(entry.word, ()) if entry.group else _stands_for(entry.word, name):
                found.setdefault(name, f"left out: {entry}")
    return found


def _stands_for(word: str, name: str) -> bool:
    group = name.startswith(f"{word}/")
    return group or fnmatchcase(name, word) or re.match(rf"{re.escape(name)}\b", word) is not None


def kernel_release(session: Session) -> str:
    """The release of the guest's kernel.  Raises GuestError."""
    return session.run(["uname", "-r"], deadline=60).stdout.strip()


def kernel_version(release: str) -> tuple[int, int, int]:
    """The version in a kernel's release, which may have two numbers only."""
    found = _RELEASE.match(release)
    if not found:
        raise UsageError(f"no kernel's release: {release}")
    return int(found[1]), int(found[2]), int(found[3] or 0)


@dataclass
class _ListReading:
    """Reads a list, and what it includes."""

    suite: str
    meant: Meant
    entries: dict[str, list[Exclusion]] = field(default_factory=dict)
    """By a word that stands for the line where the preprocessor reads it."""
    conditional: bool = False
    """Whether anything is to be preprocessed."""
    included: list[Path] = field(default_factory=list)
    files: int = 0

    def read(self, path: Path, release: str, fstyp: str, section: str) -> list[Exclusion]:
        """The entries that are meant on that kernel."""
        text = self.scan(path)
        if not self.conditional:
            return [entry for entries in self.entries.values() for entry in entries]
        lines = _Preprocessor(self, kernel_version(release), fstyp, section).lines(text, path)
        return [entry for line in lines for entry in self.entries.get(line, [])]

    def scan(self, path: Path) -> str:
        """The list as the preprocessor is to read it, with a word in place of each line.  Raises
        UsageError that names the file and the line that is no test."""
        self.files += 1
        above: list[str] = []
        lines: list[str] = []
        for number, line in enumerate(_content(self.suite, path).splitlines(), 1):
            if _DIRECTIVE.match(line):
                self.conditional = True
                lines.append(line.partition("//")[0].rstrip())
                if _UNCONDITIONAL.fullmatch(lines[-1]):
                    raise UsageError(f"{self.suite}: {path}:{number}: {lines[-1]} has no condition")
                if include := _INCLUDE.match(line):
                    self._include(path, include[1], number)
                continue
            found = _COMMENT.fullmatch(line)
            words = (found["before"] if found else line).split()
            comment = found["comment"].strip() if found else ""
            if not words:
                above = [*above, comment] if found else []
            mark = f"lab_{self.files}_{number}"
            reason = ": ".join(filter(None, (comment, " ".join(filter(None, above)))))
            self.entries[mark] = list(self._of_line(words, reason, path, number))
            lines.append(mark)
        return "\n".join([*lines, ""])

    def _include(self, path: Path, name: str, number: int) -> None:
        """Remember a list that another includes, from where that is."""
        self.included.append(path.parent / name)
        if not self.included[-1].is_file():
            raise UsageError(f"{self.suite}: {path}:{number}: there is no {name} to include")
        if self.files > _INCLUDES:
            raise UsageError(f"{self.suite}: {path}:{number}: it includes itself")

    def _of_line(
        self, words: Sequence[str], reason: str, path: Path, number: int
    ) -> Iterator[Exclusion]:
        grouped = words[:1] == [_GROUP]
        for word in words[grouped:]:
            for name in word.split(",") if grouped else [word]:
                if not grouped and not self.meant(name):
                    raise UsageError(
                        f"{self.suite}: {path}:{number}: {word} is no test",
                        hint="a line has a test, and a reason behind a #",
                    )
                yield Exclusion(name, reason, path, number, grouped)


class _Preprocessor(pcpp.Preprocessor):  # type: ignore[misc]
    """cpp, with what xfstests-bld defines for its lists (its test-appliance, runtests.sh)."""

    def __init__(
        self, reading: _ListReading, version: tuple[int, int, int], fstyp: str, section: str
    ) -> None:
        super().__init__()
        self._reading = reading
        self.line_directive = None
        major, minor, patch = version
        # As in the kernel's Makefile, a sublevel beyond 255 counts as that.
        code = (major << 16) + (minor << 8) + min(patch, 255)
        for name, value in {
            "LINUX_VERSION_CODE": code,
            "KERNEL_VERSION(a,b,c)": "(((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))",
            "LINUX_VERSION_MAJOR": major,
            "LINUX_VERSION_PATCHLEVEL": minor,
            "LINUX_VERSION_SUBLEVEL": patch,
            "FC": fstyp,
            "TC": section,
        }.items():
            self.define(f"{name} {value}")

    def lines(self, text: str, path: Path) -> list[str]:
        """The lines that are left of a text."""
        self.parse(text, str(path))
        written = io.StringIO()
        self.write(written)
        return written.getvalue().split()

    def on_error(self, file: str, line: int, message: str) -> NoReturn:
        """It does not understand a directive."""
        raise UsageError(f"{self._reading.suite}: {file}:{line}: {message}")

    def on_unknown_macro_function_in_expr(self, name: str) -> NoReturn:
        """A function that cpp does not know either; what is raised is told by on_error()."""
        raise SyntaxError(f"there is no {name}()")

    def on_file_open(self, is_system_include: bool, path: str) -> io.StringIO:
        """A list is included."""
        return io.StringIO(self._reading.scan(Path(path)))


def _content(suite: str, path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{suite}: -E {path}: {error}") from error
