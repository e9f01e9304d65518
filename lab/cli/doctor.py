# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab doctor`: what this host can do, what mends what it cannot, and what can be cleaned up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.cli.image import Json
from lab.cli.terminal import phases, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.doctor.clean import Removal
    from lab.doctor.examine import Line


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(doctor)


def doctor(
    clean: Annotated[
        bool,
        typer.Option(
            "--clean", help="Remove dead guests and what nothing leads to any more in the cache."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Try what this host can do, and say what mends what it cannot.

    The exit status is 3 where something is missing, 0 otherwise.
    """
    raise typer.Exit(_clean(json=json) if clean else _examine(json=json))


def _examine(*, json: bool) -> int:
    from lab.doctor.examine import examine
    from lab.doctor.finding import State
    from lab.errors import HostError

    with phases() as progress:
        lines = list(examine(progress))
    if json:
        print_json(_document(lines))
    else:
        _print(lines)
    missing = any(line.finding.state is State.MISSING for line in lines)
    return HostError.exit_status if missing else 0


def _print(lines: Sequence[Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lab.doctor.finding import State

    styles = {State.OK: "green", State.DEGRADED: "yellow", State.MISSING: "bold red"}
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        finding = line.finding
        table.add_row(
            Text(finding.state, styles[finding.state]),
            Text(line.name),
            Text(finding.said, overflow="fold"),
        )
        if finding.cure:
            table.add_row("", "", Text(f"→ {finding.cure.here()}", "bold", overflow="fold"))
    console = Console()
    console.print(table)
    counts = {state: sum(line.finding.state is state for line in lines) for state in State}
    console.print("\n" + ", ".join(f"{count} {state}" for state, count in counts.items() if count),
                  highlight=False)  # fmt: skip


def _document(lines: Sequence[Line]) -> dict[str, Any]:
    from dataclasses import asdict

    from lab.host.cures import this

    return {
        "distribution": this(),
        "checks": [
            {
                "name": line.name,
                "state": line.finding.state,
                "said": line.finding.said,
                "cure": asdict(line.finding.cure) if line.finding.cure else None,
                "versions": dict(line.finding.versions),
                "seconds": line.seconds,
            }
            for line in lines
        ],
    }


def _clean(*, json: bool) -> int:
    from lab.doctor.clean import clean
    from lab.doctor.leftovers import megabytes

    done = []
    for removal in clean():
        done.append(removal)
        if not json:
            print(_sentence(removal))
    freed = sum(removal.leftover.size for removal in done if not removal.kept)
    if json:
        rows = [
            {
                "what": removal.leftover.what,
                "path": str(removal.leftover.path),
                "bytes": removal.leftover.size,
                "kept": removal.kept or None,
            }
            for removal in done
        ]
        print_json({"freed": freed, "leftovers": rows})
    else:
        print(f"{megabytes(freed)} freed" if done else "nothing to clean up")
    return 0


def _sentence(removal: Removal) -> str:
    from lab.doctor.leftovers import megabytes

    if removal.kept:
        return f"kept {removal.leftover.what}: {removal.kept}"
    return f"removed {removal.leftover.what}, {megabytes(removal.leftover.size)}"
