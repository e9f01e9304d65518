# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab.run()`: a suite for a program.  All that this room has to do with suites is here."""

import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.artifacts.kernels.names import kernel_name
from lab.artifacts.qemus.names import qemu_name
from lab.errors import UsageError
from lab.face.guests import listed, silent
from lab.face.handle import GuestHandle
from lab.face.outcome import RunOutcome
from lab.guest import registry
from lab.guest.boot import Progress
from lab.results.run import Listener, heard_by
from lab.suites.arguments import Help, Keywords
from lab.suites.request import Request, assign
from lab.suites.suite import find


def run(
    profile: str | os.PathLike[str],
    suite: str,
    *,
    kernel: str | None = None,
    qemu: str | None = None,
    set: Iterable[str] = (),
    on: str | GuestHandle | None = None,
    tree: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    on_event: Listener | None = None,
    **arguments: Any,
) -> RunOutcome:
    """Run a suite in guests of its own, or in the one it is to run `on`, and judge what happened.

    The suite's options go by name: `--points write:2` of copy-faults is `points=["write:2"]`, a
    test of fstests stands in `tests=["generic/001"]`; `on_` is an option `--on` of a suite, and so
    with each that this function has too.  `on_event` is told what comes into the run's timeline,
    as it happens: source, event and data.  Everything else is as with `lab run`.

    Raises UsageError and ProfileError for what is asked wrongly, HostError and GuestError where the
    lab and not what it tests has failed.  A rule that was violated is no error: see `holds`.
    """
    wanted = find(suite)
    request = Request(
        os.fspath(profile), suite, Keywords(arguments), Path(tree) if tree else None,
        on.name if isinstance(on, GuestHandle) else on or "",
        kernel_name(kernel), qemu_name(qemu), listed(set),
    )  # fmt: skip
    try:
        asked = assign(wanted, request)
    except Help as told:
        raise UsageError(f"{suite}: help is no run", detail=str(told)) from None
    registry.sweep()
    with heard_by(on_event) if on_event else nullcontext():
        done = wanted.run(asked, _Silent(progress))
    if done.error and done.exit_status not in (0, 1):
        done.error.add_note(f"run {done.run}: {done.directory}")
        raise done.error
    return RunOutcome.of(suite, done.document(), done.directory, done.exit_status)


@dataclass(frozen=True)
class _Silent:
    """Who watches: nobody but for `progress`."""

    progress: Progress

    def on_total(self, cases: int) -> None:
        """Nobody asks."""

    def on_begin(self, title: str) -> None:
        """Nobody asks."""

    def on_case(self, case: object) -> None:
        """Nobody asks."""
