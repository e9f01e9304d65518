"""`lab.run()`: a suite for a program.  All that this room has to do with suites is here."""

import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.face.guests import silent, wanted
from lab.face.handle import GuestHandle
from lab.face.outcome import RunOutcome
from lab.faults.byhand import require_free
from lab.guest import guest as guests
from lab.guest import registry
from lab.guest.boot import Progress
from lab.guest.guest import Guest
from lab.profile.find import find
from lab.profile.models import Profile
from lab.results.cases import Case
from lab.results.run import Listener, heard_by
from lab.suites.arguments import Keywords
from lab.suites.suite import SUITES
from lab.suites.watch import Watch

_OF_TREES = ("fstests", "blktests", "cryptsetup")
_NO_TREE = ("copy-faults", "conformance", "verity")


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
    if suite not in SUITES:
        raise UsageError(f"no suite {suite}", hint=f"there are: {', '.join(SUITES)}")
    asked = _Asked(
        suite, wanted(profile, kernel, qemu, set), os.fspath(profile), Keywords(arguments),
        Path(tree) if tree else None, on.name if isinstance(on, GuestHandle) else on, progress,
    )  # fmt: skip
    if asked.on and suite not in (*_OF_TREES, "copy-faults"):
        raise UsageError(f"{suite} boots guests of its own: on={asked.on!r} cannot be used")
    if tree and suite in _NO_TREE:
        raise UsageError(f"{suite} needs no tree")
    registry.sweep()
    with heard_by(on_event) if on_event else nullcontext():
        done = _RUN.get(suite, _of_tree)(asked)
    if done.error and done.exit_status not in (0, 1):
        done.error.add_note(f"run {done.run}: {done.directory}")
        raise done.error
    return RunOutcome.of(suite, done.document(), done.directory, done.exit_status)


@dataclass(frozen=True)
class _Asked:
    """What is to be run, and who watches: nobody but for `progress`."""

    suite: str
    profile: Profile
    place: str
    keywords: Keywords
    tree: Path | None
    on: str | None
    progress: Progress

    def running(self) -> Guest | None:
        """The guest to run on, which must be of the profile and hold nothing."""
        if not self.on:
            return None
        guest = guests.attach(self.on)
        if guest.record.profile != self.profile:
            raise UsageError(
                f"guest {self.on} is of profile {guest.record.profile.name}, not "
                f"{self.profile.name} as it is now",
                hint="name that profile, and set= what was set when it was started",
            )
        require_free(guest)
        return guest

    def watch(self) -> Watch:
        """Told by suites that judge by the contract."""
        return Watch(self.progress, lambda _total: None, lambda _case: None)

    def on_total(self, cases: int) -> None:
        """Nobody asks."""

    def on_begin(self, title: str) -> None:
        """Nobody asks."""

    def on_case(self, case: Case) -> None:
        """Nobody asks."""


def _copy_faults(asked: _Asked) -> Any:
    from lab.suites.copy_faults import options, run

    given = options.parse(asked.keywords)
    return run.run(asked.profile, given, asked.watch(), on=asked.running())


def _conformance(asked: _Asked) -> Any:
    from lab.suites.conformance import options, run

    return run.run(asked.profile, options.parse(asked.keywords), asked.watch())


def _verity(asked: _Asked) -> Any:
    from lab.suites.verity import options, run

    return run.run(asked.profile, options.parse(asked.keywords), asked)


def _fsx(asked: _Asked) -> Any:
    from lab.suites.fsx import options, programs, run

    given = options.parse(asked.keywords)
    if asked.suite == "fsx" and not asked.tree:
        return run.run(asked.profile, given, asked)
    return programs.run(asked.suite, asked.profile, given, asked.tree, asked)


def _of_tree(asked: _Asked) -> Any:
    given = import_module(f"lab.suites.{asked.suite}.options").parse(asked.keywords)
    carry_out = import_module(f"lab.suites.{asked.suite}.run").run
    place, on = find(asked.place), asked.on or ""
    return carry_out(asked.profile, place, given, asked.tree, asked, on)


_RUN = {
    "copy-faults": _copy_faults,
    "conformance": _conformance,
    "verity": _verity,
    "fsx": _fsx,
    "fsstress": _fsx,
}
"""What carries a suite out; the others are of trees."""
