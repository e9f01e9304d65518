# SPDX-License-Identifier: GPL-2.0-or-later
"""One job of a night: `lab run` as a process of its own, and the run that came of it."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.host.command import owned
from lab.results import runs
from lab.results.run import TOKEN
from lab.suites.request import Request

GRACE = 90.0
"""Seconds for an interrupted run to take its guest down."""

ASK = 0.5
"""Seconds between two looks at whether a run is still wanted."""

LAB: tuple[str, ...] = (sys.executable, "-m", "lab")
"""The command whose `run` a run is."""

ENDED_WELL = (0, 1)
"""Exit statuses of a run that says something about the kernel: all well, or something failed."""


@dataclass(frozen=True)
class JobEnd:
    """What came of a job: the run's id, '' if it has none, and what the lab failed with."""

    run: str
    said: str
    status: int | None = None
    """Exit status of `lab run`; None if whoever waited for it was killed."""


_QUOTED = 5
"""Lines that are kept of what a failed command quotes."""

_IS_ERROR = re.compile(r"lab: (?!warning: )")

_NOTHING: Mapping[str, str] = {}


class Unwanted(Exception):
    """Nobody wants the run any more; its process has ended."""


def _never() -> bool:
    return False


def run_job(
    request: Request,
    token: str,
    directory: Path,
    unwanted: Callable[[], bool] = _never,
    more: Mapping[str, str] = _NOTHING,
) -> JobEnd:
    """Run what is asked for to its end, or until it is `unwanted`, which raises Unwanted.

    `token` names it in the timeline of its run, by which run_of() finds that again; what the run
    prints goes to files in `directory`.  Whatever ends this process ends the run, which then takes
    its guest down.
    """
    directory.mkdir(parents=True, exist_ok=True)
    argv = [*LAB, *request.words("--json")]
    log = directory / "log"
    with log.open("w") as said, (directory / "run.json").open("w") as told:

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=said,
                text=True,
                env={**os.environ, **more, TOKEN: token},
                process_group=0,
            )

        with owned(start, grace=GRACE) as process:
            status = _waited(process, unwanted)
    run = run_of(token)
    if run and status in ENDED_WELL:
        return JobEnd(run, "", status)
    return JobEnd(run, failure(log.read_text(errors="replace")) or f"exit status {status}", status)


def failure(log: str) -> str:
    """What a command of the lab failed with, as it said at its end: its own words, in the first
    line, and the last ones of those that it quotes."""
    lines = log.rstrip().splitlines()
    begins = [at for at, line in enumerate(lines) if _IS_ERROR.match(line)]
    first = begins[-1] if begins else max(0, len(lines) - _QUOTED)
    quoted = lines[first + 1 :][-_QUOTED:]
    return "\n".join([*lines[first : first + 1], *quoted])


def _waited(process: subprocess.Popen[str], unwanted: Callable[[], bool]) -> int:
    """The exit status of a process.  Raises Unwanted."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(ASK)
        if unwanted():
            raise Unwanted


def run_of(token: str) -> str:
    """The run of a job that has ended, however the lab that started it did; '' if there is none."""
    for run in runs.ids():
        if runs.token(run) == token and runs.ended(run):
            return run
    return ""
