# SPDX-License-Identifier: GPL-2.0-or-later
"""quilt's `series`: the file that says which patches are applied, in what order and how (quilt(1)).

A line is a file's name, relative to the list, perhaps with -pN; `#` starts a comment.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import UsageError

LIST = "series"

_STRIP = re.compile(r"-p\s*(?P<strip>[0-9]{1,3}|ab)")
"""-pab: as -p1, only that quilt itself would write the names as a/ and b/."""


@dataclass(frozen=True)
class QuiltEntry:
    """A line of the list."""

    file: Path
    strip: int


def listed(path: Path) -> Path | None:
    """The list that `path` is or has, in quilt's own place for it too; None without one."""
    places = (path, path / LIST, path / "patches" / LIST)
    return next((one for one in places if one.name == LIST and one.is_file()), None)


def entries(series: Path) -> list[QuiltEntry]:
    """The patches in the list, in its order.  Raises UsageError with the line that is wrong."""
    found = []
    for number, line in enumerate(series.read_text(errors="replace").splitlines(), 1):
        words = re.sub(r"(?:^|\s)#.*", "", line).split(maxsplit=1)
        if not words:
            continue
        file, options = series.parent / words[0], words[1] if len(words) > 1 else ""
        strip = _STRIP.fullmatch(options.strip()) if options else None
        if options and not strip:
            raise UsageError(
                f"{series}:{number}: {options.strip()} is no option that the lab knows",
                hint="-pN is; a patch that is taken off (-R) is better left out",
            )
        try:
            there = file.is_file()
        except OSError:  # no name that a file system takes
            there = False
        if not there:
            raise UsageError(f"{series}:{number}: no file {file}")
        chosen = strip["strip"] if strip else "1"
        found.append(QuiltEntry(file, 1 if chosen == "ab" else int(chosen)))
    return found
