"""`lab run`: a suite on a profile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.guest import complete_guest
from lab.cli.kernel import Kernel, with_kernel
from lab.cli.profile import Changes, complete_profile
from lab.cli.qemu import Qemu, with_qemu
from lab.cli.terminal import print_error, print_json, warn
from lab.suites.suite import SUITES

if TYPE_CHECKING:
    from lab.guest.guest import Guest
    from lab.profile.models import Profile
    from lab.suites.copy_faults.options import Options
    from lab.suites.copy_faults.report import Report

EXTERNAL = ("fstests", "blktests", "fsx", "fsstress", "verity", "cryptsetup")
"""Suites that have cases of their own (lab/cli/external.py)."""
REUSING = ("copy-faults", "fstests", "blktests", "cryptsetup")
"""Suites that can run in a guest that is up."""


def complete_suite(incomplete: str) -> list[str]:
    """The suites that start with `incomplete`, for the shell's completion."""
    return [suite for suite in SUITES if suite.startswith(incomplete)]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(run)


def run(
    profile: Annotated[str, typer.Argument(help="Name or path.", autocompletion=complete_profile)],
    suite: Annotated[str, typer.Argument(help=" or ".join(SUITES), autocompletion=complete_suite)],
    args: Annotated[
        list[str] | None,
        typer.Argument(help="Of the suite, after `--`; `-- --help` tells what there is."),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            help="Run in this guest, which is up; what is on its device is overwritten.",
            autocompletion=complete_guest,
        ),
    ] = None,
    kernel: Kernel = None,
    qemu: Qemu = None,
    tree: Annotated[
        Path | None,
        typer.Option(
            "--tree", help="A built tree of the suite, instead of the one in the settings."
        ),
    ] = None,
    changes: Changes = None,
    json: Annotated[bool, typer.Option("--json", help="Print the run's JSON.")] = False,
) -> None:
    """Run a suite in a guest of its own, and judge what happened."""
    from lab.errors import UsageError
    from lab.suites.arguments import Help

    if suite not in SUITES:
        raise UsageError(f"no suite {suite}", hint=f"there are: {', '.join(SUITES)}")
    if on and suite not in REUSING:
        raise UsageError(f"{suite} boots guests of its own: --on cannot be used")
    if tree and suite not in EXTERNAL:
        raise UsageError(f"{suite} needs no tree")
    all_changes = with_qemu(with_kernel(changes, kernel), qemu)
    try:
        if suite in EXTERNAL:
            from lab.cli import external

            status = external.run(suite, profile, all_changes, args or [], tree, on, json=json)
        elif suite == "conformance":
            status = _conformance(profile, all_changes, args or [], json=json)
        else:
            status = _copy_faults(profile, all_changes, args or [], on, json=json)
    except Help as told:
        print(told)
        return
    raise typer.Exit(status)


def _copy_faults(
    name: str, changes: list[str], args: list[str], on: str | None, *, json: bool
) -> int:
    """The suite copy-faults; its exit status."""
    from lab.profile.load import load

    # A mistake in the profile is told before anything slow is even imported.
    wanted = load(name, changes)
    from lab.cli.show.copy_faults import watched
    from lab.guest import registry
    from lab.suites.copy_faults import options
    from lab.suites.copy_faults import run as copy_faults

    asked = options.parse(args)
    registry.sweep()
    guest = _running(on, wanted) if on else None
    if asked.generated:
        # Told before anything can go wrong: with it the same cases can be drawn again.
        print(f"seed {asked.generated.seed}", file=sys.stderr)
    with watched() as watch:
        report = copy_faults.run(wanted, asked, watch, on=guest)
    _print(report, asked, json)
    return report.exit_status


def _running(name: str, wanted: Profile) -> Guest:
    """The running guest of that name, which must be of the profile."""
    from lab.errors import UsageError
    from lab.faults.byhand import require_free
    from lab.guest.guest import attach

    guest = attach(name)
    if guest.record.profile != wanted:
        raise UsageError(
            f"guest {name} is of profile {guest.record.profile.name}, not {wanted.name} as it is "
            "now",
            hint="name that profile, and --set what was set when it was started",
        )
    require_free(guest)
    return guest


def _conformance(name: str, changes: list[str], args: list[str], *, json: bool) -> int:
    """The suite conformance; its exit status."""
    from lab.profile.load import load

    profile = load(name, changes)
    from lab.cli.show.copy_faults import watched
    from lab.guest import registry
    from lab.suites.conformance import options
    from lab.suites.conformance import run as conformance

    asked = options.parse(args)
    registry.sweep()
    with watched() as watch:
        done = conformance.run(profile, asked, watch)
    if done.reports and (note := done.reports[-1].accelerator_note):
        warn(f"no KVM, slow TCG emulation instead: {note}")
    if json:
        print_json(done.document())
    elif done.reports:
        from lab.cli.show.conformance import print_conformance

        print_conformance(done)
    if done.error:
        print_error(done.error)
    return done.exit_status


def _print(report: Report, asked: Options, json: bool) -> None:
    if report.accelerator_note:
        warn(f"no KVM, slow TCG emulation instead: {report.accelerator_note}")
    if json:
        print_json(report.document())
    else:
        from lab.cli.show.copy_faults import print_report

        print_report(report, asked)
    if report.error:
        print_error(report.error)
