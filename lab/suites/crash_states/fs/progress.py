# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run has come to so far, written as it comes: another run goes on behind it.

`judged.jsonl` in the run's directory has a line with what was asked for and what it is tried on,
and then one for each workload that all was judged of: its case, the coverage of its epochs, its
failures, and what tells its steps from others of that name.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.host.dirs import not_writable
from lab.profile.models import Profile
from lab.results import cases, runs
from lab.results.cases import Case
from lab.suites.crash_states.options import CrashOptions
from lab.suites.crash_states.report import CoverageRow, StateFailure

JUDGED = "judged.jsonl"

Ground = Mapping[str, str]


@dataclass(frozen=True)
class JudgedWorkload:
    """All that came of a workload on a file system."""

    case: Case
    rows: tuple[CoverageRow, ...] = ()
    failures: tuple[StateFailure, ...] = ()
    meaning: str = ""
    """Of the workload; '' where that is not known."""

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "case": self.case.document(),
            "coverage": [row.document() for row in self.rows],
            "failures": [each.document() for each in self.failures],
            "meaning": self.meaning,
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "JudgedWorkload":
        """That of such a JSON.  Raises KeyError, TypeError or ValueError."""
        return cls(
            cases.read(document["case"]),
            tuple(map(CoverageRow.read, document["coverage"])),
            tuple(map(StateFailure.read, document["failures"])),
            str(document.get("meaning", "")),
        )


class ProgressLog:
    """Where it is written down."""

    def __init__(self, directory: Path, options: CrashOptions, ground: Ground) -> None:
        self._path = directory / JUDGED
        self._append({"options": options.document(), "ground": ground})

    def add(self, judged: JudgedWorkload) -> None:
        """All of a workload is judged.  Raises HostError."""
        self._append(judged.document())

    def _append(self, document: dict[str, Any]) -> None:
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(document) + "\n")
        except OSError as error:
            raise not_writable(self._path, error) from error


def ground_of(profile: Profile, kernel: str) -> Ground:
    """What makes the results of two runs those of one: the same guest, and the same kernel in it,
    by the key of its artifact."""
    return {
        "profile": hashlib.sha256(profile.model_dump_json().encode()).hexdigest(),
        "kernel": kernel,
    }


def check_ground(run: str, ground: Ground) -> None:
    """Raise UsageError where a run was on another profile or kernel than one that goes on with
    it."""
    then = next(_lines(run), {}).get("ground") or ground
    others = [name for name, value in ground.items() if then.get(name) != value]
    if others:
        raise UsageError(
            f"{run}: that was on another {' and '.join(others)}",
            hint="results of two would be told as those of one: give the same, or begin anew",
        )


def asked(run: str) -> dict[str, Any]:
    """What a run was asked for.  Raises UsageError where that is not known."""
    try:
        found: dict[str, Any] = next(_lines(run))["options"]
    except (StopIteration, KeyError, TypeError) as error:
        raise UsageError(f"{run}: no run of crash-states on file systems", hint=_HINT) from error
    return found


_HINT = "--resume takes a run that was broken off; `lab results list` has them all"


def judged(run: str) -> Iterator[JudgedWorkload]:
    """What it had come to."""
    lines = _lines(run)
    next(lines, None)
    yield from map(JudgedWorkload.read, lines)


def _lines(run: str) -> Iterator[dict[str, Any]]:
    """Its lines; the last may have been broken off."""
    try:
        text = (runs.directory(run) / JUDGED).read_text()
    except FileNotFoundError:
        return
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def take_over(run: str, failures: tuple[StateFailure, ...], target: Path) -> None:
    """Copy what is kept of failures to another run's directory.  Raises HostError."""
    source = runs.directory(run)
    try:
        for failure in failures:
            section, _, name = failure.case.partition(":")
            place = Path("cases") / section / name
            shutil.copytree(source / place, target / place, dirs_exist_ok=True)
    except OSError as error:
        raise not_writable(target, error) from error
