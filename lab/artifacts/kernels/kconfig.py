# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's own Kconfig files say of an option: whether they have it, and on what it depends.

The language is that of Documentation/kbuild/kconfig-language.rst; what is read here is where an
option stands, its `depends on`, the `if` blocks around it and the `choice` that it is one of.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab.host.walk import walk

ARCHITECTURE = "x86"
"""The only directory of `arch` whose options count: `source "arch/$(SRCARCH)/Kconfig"`."""

_NO_OPTIONS = {"Documentation", "samples", "tools"}
_ENTRY = re.compile(r"\s*(?:menu)?config\s+(?P<name>\w+)\s*")
_DEPENDS = re.compile(r"\s+depends on\s+(?P<on>.+)")
_IF = re.compile(r"if\s+(?P<on>.+)")


@dataclass(frozen=True)
class Symbol:
    """One definition of an option; an option may have several."""

    name: str
    """Without CONFIG_."""
    file: str
    """Relative to the sources."""
    line: int
    depends: tuple[str, ...] = ()
    """Expressions that must all be true, as they are written."""
    choice: str = ""
    """Where the choice begins that it is one of, as FILE:LINE; '' for none."""

    @property
    def where(self) -> str:
        """FILE:LINE."""
        return f"{self.file}:{self.line}"


@dataclass
class _Reader:
    """What has been read of one file so far."""

    file: str
    ifs: list[str] = field(default_factory=list)
    choice: str = ""
    common: list[str] = field(default_factory=list)
    """What the choice itself depends on."""
    entry: tuple[str, int] | None = None
    depends: list[str] = field(default_factory=list)

    def read(self, lines: Iterable[str]) -> Iterator[Symbol]:
        for number, line in enumerate(lines, start=1):
            if entry := _ENTRY.fullmatch(line):
                yield from self._end()
                self.entry = (entry["name"], number)
            elif on := _DEPENDS.match(line):
                (self.depends if self.entry else self.common).append(on["on"].strip())
            elif line and not line[0].isspace() and line[0] != "#":
                yield from self._end()
                self._block(line, number)
        yield from self._end()

    def _block(self, line: str, number: int) -> None:
        if condition := _IF.match(line):
            self.ifs.append(condition["on"].strip())
        elif line.startswith("endif") and self.ifs:
            self.ifs.pop()
        elif line.startswith("choice"):
            self.choice, self.common = f"{self.file}:{number}", []
        elif line.startswith("endchoice"):
            self.choice, self.common = "", []

    def _end(self) -> Iterator[Symbol]:
        if self.entry:
            on = (*self.ifs, *(self.common if self.choice else ()), *self.depends)
            yield Symbol(self.entry[0], self.file, self.entry[1], on, self.choice)
        self.entry, self.depends = None, []


def symbols(file: str, text: str) -> list[Symbol]:
    """The options that one Kconfig file defines; `file` is its path in the sources."""
    return list(_Reader(file).read(_joined(text)))


def _joined(text: str) -> Iterator[str]:
    """Lines, with those that a backslash continues appended; as many as there were before."""
    held, empty = "", 0
    for line in text.splitlines():
        held += line.strip() if held else line
        if held.endswith("\\"):
            held, empty = held[:-1].rstrip() + " ", empty + 1
            continue
        yield held
        yield from [""] * empty
        held, empty = "", 0


def find(tree: Path, names: Iterable[str]) -> dict[str, list[Symbol]]:
    """The definitions of options (without CONFIG_) in the sources of a kernel, for those that
    have any."""
    wanted = set(names)
    found: dict[str, list[Symbol]] = {}
    for path in _files(tree) if wanted else ():
        text = path.read_text(errors="replace")
        for symbol in symbols(str(path.relative_to(tree)), text):
            if symbol.name in wanted:
                found.setdefault(symbol.name, []).append(symbol)
    return found


def _files(tree: Path) -> Iterator[Path]:
    for place, directories, files in walk(tree):
        if Path(place) == tree:
            directories[:] = sorted(set(directories) - _NO_OPTIONS)
        elif Path(place) == tree / "arch":
            directories[:] = [name for name in directories if name == ARCHITECTURE]
        yield from (Path(place, file) for file in sorted(files) if file.startswith("Kconfig"))
