# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab run`: a suite on a profile."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.boot import Boot
from lab.cli.guest import complete_guest
from lab.cli.kernel import Kernel, kernel_named
from lab.cli.profile import Changes, complete_profile
from lab.cli.qemu import Qemu, qemu_named
from lab.cli.terminal import print_error, print_json, warn
from lab.suites import SUITES

if TYPE_CHECKING:
    from lab.cli.show import Shows
    from lab.suites.request import Request
    from lab.suites.suite import Suite


_SUITES = f"{', '.join(SUITES)}, or one that a package brings."


def complete_suite(incomplete: str) -> list[tuple[str, str]]:
    """The suites that start with `incomplete`, for the shell's completion."""
    from lab.suites.suite import suites

    return [(name, suite.does) for name, suite in suites().items() if name.startswith(incomplete)]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(run)


def run(
    profile: Annotated[str, typer.Argument(help="Name or path.", autocompletion=complete_profile)],
    suite: Annotated[str, typer.Argument(help=_SUITES, autocompletion=complete_suite)],
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
    boot: Boot = None,
    spares: Annotated[
        int | None,
        typer.Option(
            "--spares",
            min=0,
            max=8,
            help="How many guests wait, restored, to take over from the one that a case kills; "
            "default: the profile's, 1.",
        ),
    ] = None,
    coverage: Annotated[
        str | None,
        typer.Option(
            "--coverage",
            metavar="PATH,…",
            help="Tell what is executed of these directories and files of the kernel's sources, "
            "such as drivers/nvme,block,drivers/block/loop.c; the lab builds it with gcov.",
        ),
    ] = None,
    changes: Changes = None,
    json: Annotated[bool, typer.Option("--json", help="Print the run's JSON.")] = False,
) -> None:
    """Run a suite in a guest of its own, and judge what happened."""
    from lab.suites.arguments import Help
    from lab.suites.request import Request
    from lab.suites.suite import find

    wanted = find(suite)
    request = Request(
        profile, suite, args or (), tree, on or "", kernel_named(kernel), qemu_named(qemu),
        changes or (), boot or "", spares, coverage or "",
    )  # fmt: skip
    try:
        status = _carry_out(wanted, request, json=json)
    except Help as told:
        print(told)
        return
    raise typer.Exit(status)


def _carry_out(suite: Suite, request: Request, *, json: bool) -> int:
    """Run a suite and print what came of it; the exit status."""
    from lab.suites.request import assign

    # A mistake in what is asked is told before anything slow is even imported.
    asked = assign(suite, request)
    from lab.guest import registry

    shows: Shows = import_module(suite.shows)
    registry.sweep()
    with shows.watched(asked.options) as watcher:
        done = suite.run(asked, watcher)
    if done.accelerator_note:
        warn(f"no KVM, slow TCG emulation instead: {done.accelerator_note}")
    if json:
        print_json(done.document())
    else:
        shows.show(done, asked.options)
        if done.executed:
            from lab.cli.show.coverage import print_coverage

            print_coverage(done.executed, done.run)
    if done.error:
        print_error(done.error)
    exit_status: int = done.exit_status
    return exit_status
