# SPDX-License-Identifier: GPL-2.0-or-later
"""gcovr, which adds up what was read with gcov, and tells it as HTML and in Cobertura's format."""

import gzip
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lab.coverage.gcov import Lines
from lab.errors import HostError
from lab.host.command import run
from lab.host.dirs import not_writable
from lab.host.scratch import scratch

_DEADLINE = 600.0
_GCOVR = (sys.executable, "-m", "gcovr")
_VERSION = "gcovr/format_version"


def write(lines: Lines, target: Path) -> None:
    """Write lines as gcovr reads them (its JSON format).  Raises HostError."""
    files = [
        {
            "file": file,
            "lines": [
                {
                    "line_number": number,
                    "function_name": line.function,
                    "count": line.count,
                    "branches": [],
                }
                for number, line in sorted(found.items())
            ],
            "functions": [],
        }
        for file, found in sorted(lines.items())
    ]
    document = {_VERSION: _version(), "files": files}
    try:
        target.write_bytes(gzip.compress(json.dumps(document).encode(), 6, mtime=0))
    except OSError as error:
        raise not_writable(target, error) from error


def cobertura(tracefiles: Sequence[Path], sources: Path, target: Path) -> None:
    """Write the sum of these in Cobertura's format.  Raises HostError."""
    _run(tracefiles, sources, "--cobertura", target)


def pages(tracefiles: Sequence[Path], sources: Path, target: Path, title: str) -> None:
    """Write the sum of these as pages, the first of which is `target`.  Raises HostError."""
    how = ["--html-title", title, "--html-static-report", "--html-syntax-highlighting"]
    _run(tracefiles, sources, "--html-details", target, *how)


def together(tracefiles: Sequence[Path], target: Path) -> None:
    """Write the sum of these as one of them.  Raises HostError."""
    _run(tracefiles, target.parent, "--json", target)


def _run(tracefiles: Sequence[Path], sources: Path, form: str, target: Path, *more: str) -> None:
    added = [word for one in tracefiles for word in ("--json-add-tracefile", str(one.absolute()))]
    argv = [*_GCOVR, "--root", str(sources), *added, form, str(target.absolute())]
    # Away from any gcovr.cfg of the user's.
    with scratch() as place:
        run([*argv, *more, "--config", str(_no_settings(place))], deadline=_DEADLINE, cwd=place)


def _no_settings(place: Path) -> Path:
    path = place / "gcovr.cfg"
    path.touch()
    return path


@cache
def _version() -> Any:
    """What this gcovr calls the version of its JSON format, which it insists on."""
    with scratch() as place:
        target = place / "nothing.json"
        run([*_GCOVR, "--root", place, "--json", target, place], deadline=_DEADLINE, cwd=place)
        try:
            return json.loads(target.read_text())[_VERSION]
        except (OSError, ValueError, KeyError) as error:
            raise HostError(f"gcovr writes no {_VERSION}: {error}") from error
