"""`lab run` for suites that have cases of their own: their progress, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab.cli.terminal import print_error, print_json, warn

if TYPE_CHECKING:
    from lab.profile.models import Profile
    from lab.suites.outcome import Outcome
    from lab.suites.upstream.campaign import Watcher


def run(
    suite: str,
    profile: str,
    changes: Sequence[str],
    args: list[str],
    tree: Path | None,
    on: str | None,
    *,
    json: bool,
) -> int:
    """Run a suite on a profile and print what came of it; the exit status."""
    from lab.profile.load import load

    # A mistake in the profile is told before anything slow is even imported.
    wanted = load(profile, changes)
    from lab.cli.show.cases import print_outcome, watched
    from lab.guest import registry

    registry.sweep()
    with watched() as watcher:
        if suite in _OF_TREES:
            outcome = _of_tree(suite, wanted, profile, args, tree, on or "", watcher)
        else:
            outcome = _RUN[suite](wanted, args, tree, watcher)
    if outcome.accelerator_note:
        warn(f"no KVM, slow TCG emulation instead: {outcome.accelerator_note}")
    if json:
        print_json(outcome.document())
    else:
        print_outcome(outcome)
        if outcome.latency:
            from lab.cli.show.latency import print_latency

            print_latency(outcome.latency)
    if outcome.error:
        print_error(outcome.error)
    return outcome.exit_status


def _of_tree(
    suite: str, profile: Profile, name: str, args: list[str], tree: Path | None, on: str,
    watcher: Watcher,
) -> Outcome:  # fmt: skip
    """Carry out a suite of which a person names a built tree; what it needs is imported here."""
    from importlib import import_module

    from lab.profile.find import find

    options = import_module(f"lab.suites.{suite}.options").parse(args)
    run = import_module(f"lab.suites.{suite}.run").run
    outcome: Outcome = run(profile, find(name), options, tree, watcher, on)
    return outcome


def _fsx(profile: Profile, args: list[str], tree: Path | None, watcher: Watcher) -> Outcome:
    from lab.suites.fsx import options, programs, run

    asked = options.parse(args)
    if tree:
        return programs.run("fsx", profile, asked, tree, watcher)
    return run.run(profile, asked, watcher)


def _fsstress(profile: Profile, args: list[str], tree: Path | None, watcher: Watcher) -> Outcome:
    from lab.suites.fsx import options, programs

    return programs.run("fsstress", profile, options.parse(args), tree, watcher)


def _verity(profile: Profile, args: list[str], tree: Path | None, watcher: Watcher) -> Outcome:
    from lab.errors import UsageError
    from lab.suites.verity import options, run

    if tree:
        raise UsageError("verity needs no tree")
    return run.run(profile, options.parse(args), watcher)


_OF_TREES = ("fstests", "blktests", "cryptsetup")
"""Suites of which a person names a built tree, and which can run in a guest that is up."""
_RUN = {"fsx": _fsx, "fsstress": _fsstress, "verity": _verity}
"""What carries out any other."""
