# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab results coverage`: what runs have executed of their kernels."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.compare import Json, complete_run
from lab.cli.terminal import phases, print_json

if TYPE_CHECKING:
    from lab.coverage.export import CoveredRuns


def register(app: typer.Typer) -> None:
    """Add the command to `lab results`."""
    app.command()(coverage)


def coverage(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[RUN[:CASE]|NIGHT]",
            help="Its id or its beginning; default: the latest run.",
            autocompletion=complete_run,
        ),
    ] = "latest",
    html: Annotated[
        Path | None, typer.Option("--html", help="Write pages of all lines to this directory.")
    ] = None,
    cobertura: Annotated[
        Path | None, typer.Option("--cobertura", help="Write Cobertura's XML to this file.")
    ] = None,
    json: Json = False,
) -> None:
    """Tell what was executed of a kernel, by file, and of its series line by line.

    Of a night all runs on a kernel together.
    """
    from lab.cli.show.coverage import print_files

    with ExitStack() as stack:
        found = _found(name, stack)
        if json:
            print_json([each.report.model_dump(mode="json") for each in found])
        for number, each in enumerate(found):
            if not json:
                print_files(each.report)
            with phases() as progress:
                progress("write what was asked for")
                if cobertura:
                    each.cobertura(_numbered(cobertura, number))
                index = each.pages(_numbered(html, number)) if html else None
            if index:
                # Of JSON nothing may stand behind it.
                print(index.absolute().as_uri(), file=sys.stderr if json else sys.stdout)


def _found(name: str, stack: ExitStack) -> list[CoveredRuns]:
    from lab.coverage.export import of_case, together
    from lab.farm.hosts.evidence import runs_named
    from lab.results import runs
    from lab.results.store.database import session
    from lab.results.store.feed import feed

    run, _, case = name.partition(":")
    with session() as store:
        feed(store)
        wanted = runs_named(store, run)
    if case:
        return [stack.enter_context(of_case(runs.directory(wanted[0]), case))]
    return together([runs.directory(run) for run in wanted], name)


def _numbered(path: Path, number: int) -> Path:
    """Where the same of another kernel goes."""
    return path.with_stem(f"{path.stem}-{number + 1}") if number else path
