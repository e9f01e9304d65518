"""`lab run`: a suite on a profile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.guest import complete_guest
from lab.cli.kernel import Kernel, with_kernel
from lab.cli.profile import Changes, complete_profile
from lab.cli.terminal import print_error, print_json, warn

if TYPE_CHECKING:
    from lab.profile.models import Profile
    from lab.suites.options import Options
    from lab.suites.report import Report

EXTERNAL = ("fstests", "fsx", "fsstress", "verity")
"""Suites that have cases of their own (lab/cli/external.py)."""
SUITES = ("copy-faults", "conformance", *EXTERNAL)


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
        typer.Argument(
            help="After `--`, for copy-faults: --path P [--layer NAME]; --sweep or --cases N "
            "[--seed N] [--no-minimise]; --ranges N --blocks N --actions A,… --points P,… "
            "--hang-deadline SECONDS --plant KIND|help. For conformance: --paths P,… --ranges N "
            "--actions A,… --quirks FILE --hang-deadline SECONDS. "
            "For fstests: tests, or -g GROUP,…, -x, -e, -E FILE; --fs TYPE,… "
            "--device ROLE=NAME --shards N --loop N --deadline SECONDS --known FILE --keep. "
            "For fsx and fsstress: --seed N --cases N --ops N --kinds A,… --on FS "
            "--shutdown FS --replay FILE --deadline SECONDS. "
            "For verity: --only PATTERN,… --seconds N --plant KIND"
        ),
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
    tree: Annotated[
        Path | None,
        typer.Option("--tree", help="A built tree of fstests, instead of the one in the settings."),
    ] = None,
    changes: Changes = None,
    json: Annotated[bool, typer.Option("--json", help="Print the run's JSON.")] = False,
) -> None:
    """Run a suite in a guest of its own, and judge what happened."""
    from lab.errors import UsageError
    from lab.profile.load import load

    if suite not in SUITES:
        raise UsageError(f"no suite {suite}", hint=f"there are: {', '.join(SUITES)}")
    if suite in EXTERNAL:
        from lab.cli import external

        if on:
            raise UsageError(f"{suite} boots a guest of its own: --on cannot be used")
        status = external.run(
            suite, profile, with_kernel(changes, kernel), args or [], tree, json=json
        )
        raise typer.Exit(status)
    if tree:
        raise UsageError(f"{suite} needs no tree")
    # A mistake in the profile is told before anything slow is even imported.
    wanted = load(profile, with_kernel(changes, kernel))
    if suite == "conformance":
        if on:
            raise UsageError("conformance boots guests of its own: --on cannot be used")
        raise typer.Exit(_conformance(wanted, args or [], json=json))
    from lab.copy import plant
    from lab.faults.byhand import require_free
    from lab.guest import registry
    from lab.guest.guest import attach
    from lab.suites import copy_faults, options

    try:
        asked = options.parse(args or [])
    except options.PlantHelp:
        print(plant.listing())
        return
    registry.sweep()
    guest = attach(on) if on else None
    if guest and guest.record.profile != wanted:
        raise UsageError(
            f"guest {on} is of profile {guest.record.profile.name}, not {profile} as it is now",
            hint="name that profile, and --set what was set when it was started",
        )
    if guest:
        require_free(guest)
    from lab.cli.sweep import watched

    if asked.generated:
        # Told before anything can go wrong: with it the same cases can be drawn again.
        print(f"seed {asked.generated.seed}", file=sys.stderr)
    with watched() as watch:
        report = copy_faults.run(wanted, asked, watch, on=guest)
    _print(report, asked, json)
    raise typer.Exit(report.exit_status)


def _conformance(profile: Profile, args: list[str], *, json: bool) -> int:
    """The suite conformance; its exit status."""
    from lab.cli.sweep import watched
    from lab.guest import registry
    from lab.suites import conformance

    asked = conformance.parse(args)
    registry.sweep()
    with watched() as watch:
        done = conformance.run(profile, asked, watch)
    if done.reports and (note := done.reports[-1].accelerator_note):
        warn(f"no KVM, slow TCG emulation instead: {note}")
    if json:
        print_json(done.document())
    elif done.reports:
        from lab.cli.conformance import print_conformance

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
        from lab.cli.sweep import print_report

        print_report(report, asked)
    if report.error:
        print_error(report.error)
