# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps that a run takes of guests that crash or hang, among its evidence, and their reports."""

import sys
import threading
from pathlib import Path

from lab.errors import HostError, LabError
from lab.guest.guest import Guest
from lab.host import settings
from lab.host.command import run as run_program
from lab.inside import dump, symbols
from lab.inside.panicked import PanicWatch
from lab.results import dumps
from lab.results.run import Run

_REPORT_DEADLINE = 300.0
_ONE_AT_A_TIME = threading.Lock()
"""A run can have several guests, and its dumps are counted."""


def keep(run: Run, guest: Guest, case: str, why: str, watch: PanicWatch | None = None) -> None:
    """Take a dump of a guest that is about to be ended, or has panicked under a watch, as the
    settings allow, and report what is in it if the symbols are at hand.  The run's timeline says
    where it is, or why there is none.

    Never raises LabError: a case has its result without.
    """
    if watch:
        # It may be about to quit, with the memory read.
        watch.wait()
    with _ONE_AT_A_TIME:
        _keep(run, guest, case, why, watch)


def _keep(run: Run, guest: Guest, case: str, why: str, watch: PanicWatch | None) -> None:
    allowed = settings.load().dumps
    if not allowed.take or not allowed.run:
        return
    place = run.directory / dumps.DIRECTORY
    number = len(dumps.of_run(run.directory)) + 1
    if number > allowed.run:
        run.emit("lab", "no dump", case=case, why=f"the run has {allowed.run} already")
        return
    target = place / f"{number:03}{dumps.SUFFIX}"
    try:
        place.mkdir(exist_ok=True)
        if watch and (plain := watch.taken()):
            note = dump.pack(guest, plain, target, allowed, watch.spent, case=case, why=why)
        elif guest.machine.alive():
            note = dump.take(guest, target, allowed, lambda _: None, case=case, why=why)
        else:
            return
        run.emit("lab", "dump", case=case, file=target.name, size=note.size, seconds=note.seconds)
        if found := symbols.at_hand(note.kernel, note.release):
            make_report(target, found)
    except (LabError, OSError) as error:
        run.emit("lab", "no dump", case=case, why=str(error))


def make_report(target: Path, found: Path) -> str:
    """Make the report of a dump with the symbols in a directory, beside it; its text.  Raises
    HostError."""
    argv = [sys.executable, "-m", "lab.inside.report", str(target), str(found)]
    run_program(argv, deadline=_REPORT_DEADLINE)
    if not (text := dumps.report_of(target)):
        raise HostError(f"{target}: no report was made")
    return text
