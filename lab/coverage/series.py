# SPDX-License-Identifier: GPL-2.0-or-later
"""When the lines of a series were executed.

Which lines these are is told by diff-cover: those of a diff that are added or changed, and have
code by a report in Cobertura's format.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.artifacts.kernels.notes import KernelNotes
from lab.coverage import gcovr
from lab.coverage.gcov import Lines
from lab.errors import HostError
from lab.foreign import harmless
from lab.host.command import run
from lab.host.scratch import scratch
from lab.results.coverage import SeriesLine

_DEADLINE = 600.0
_DIFF_COVER = (sys.executable, "-m", "diff_cover.diff_cover_tool")
_FILE = re.compile(r"^\+\+\+ b/(.+)$", re.MULTILINE)
_CODE = (".c", ".h")

When = Callable[[str, int], str]
"""When a line of a file was executed, as SeriesLine says it."""


def files(series: str) -> list[str]:
    """The files that are there after a series which changes them, in order."""
    return list(dict.fromkeys(_FILE.findall(series)))


def uncounted(notes: KernelNotes, lines: Lines) -> tuple[str, ...]:
    """The files with code in a series of which no object counts anything."""
    return tuple(file for file in files(notes.series) if file.endswith(_CODE) and file not in lines)


def judge(notes: KernelNotes, lines: Lines, when: When) -> Iterator[SeriesLine]:
    """The lines of code of the series, in the order of the files in the diff, with when each was
    executed.  Raises HostError."""
    if not notes.series:
        return
    changed = _changed(notes, lines)
    for file in filter(changed.get, files(notes.series)):
        text = _text(notes.sources / file)
        for number in changed[file]:
            yield SeriesLine(
                file=file, line=number, when=when(file, number),
                function=lines[file][number].function, text=_line(text, number),
            )  # fmt: skip


def _changed(notes: KernelNotes, lines: Lines) -> dict[str, list[int]]:
    """The lines of code that the series adds or changes, by file.  Raises HostError."""
    touched = {file: lines[file] for file in files(notes.series) if file in lines}
    with scratch() as place:
        # It asks git where it is.
        run(["git", "init", "--quiet", place], deadline=60)
        trace, report, told = place / "lines.json.gz", place / "coverage.xml", place / "told.json"
        (place / "series.diff").write_text(notes.series, errors="surrogateescape")
        gcovr.write(touched, trace)
        gcovr.cobertura([trace], place, report)
        how = ["--diff-file", "series.diff", "--format", f"json:{told}", "--quiet"]
        run([*_DIFF_COVER, str(report), *how], deadline=_DEADLINE, cwd=place)
        try:
            found = json.loads(told.read_text())["src_stats"]
            return {
                file: sorted({*stats["violation_lines"], *stats["covered_lines"]})
                for file, stats in found.items()
            }
        except (OSError, ValueError, KeyError) as error:
            raise HostError(f"diff-cover told nothing of the series: {error}") from error


def _text(file: Path) -> list[str]:
    try:
        return harmless(file.read_text(errors="replace")).splitlines()
    except OSError:
        return []


def _line(text: list[str], number: int) -> str:
    return text[number - 1].rstrip() if number <= len(text) else ""
