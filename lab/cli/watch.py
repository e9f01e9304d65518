# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab watch`: a night or a run, followed live."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli.replay import complete_run
from lab.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(watch)


def watch(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|NIGHT]",
            help="Its id, or how that begins; default: the night that goes on, or else the last "
            "run.",
            autocompletion=complete_run,
        ),
    ] = None,
) -> None:
    """Follow a night, or a run, as it goes on; q leaves, and nothing of it is touched."""
    import sys

    from lab.cli.watching.app import WatchApp
    from lab.cli.watching.subject import subject

    found = subject(what)
    if not sys.stdout.isatty():
        raise UsageError("lab watch needs a terminal", hint="lab results show RUN prints a run")
    WatchApp(found).run()
