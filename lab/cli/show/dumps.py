# SPDX-License-Identifier: GPL-2.0-or-later
"""The dumps of a run, or of a case of it, on the terminal, with their reports."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from lab.host import dirs
from lab.results.dumps import of_case, of_run, report_of

_BEGINNING = 60
"""Lines of a report that are shown of a case."""


def print_dumps(console: Console, run: str, *names: str) -> None:
    """The guest's kernel as a case left it, by the number or the title that it has."""
    for dump, note in of_case(dirs.state("runs") / run, *names):
        console.print(Text.assemble(("\nthe guest's kernel", "bold"), f", {note.why}:"))
        lines = report_of(dump).splitlines()
        for line in lines[:_BEGINNING]:
            console.print(Text(line), soft_wrap=True)
        if more := lines[_BEGINNING:]:
            console.print(f"… and {len(more)} lines more", style="dim")
        if not dump.exists():
            console.print("its memory was removed", style="dim")
        elif not lines:
            console.print(
                f"who waits for what: lab drgn {run}:{note.case} --report", soft_wrap=True
            )
        else:
            console.print(f"a shell in it: lab drgn {run}:{note.case}", soft_wrap=True)


def print_list(console: Console, run: str) -> None:
    """The dumps of a run, a line for each."""
    for dump, note in of_run(dirs.state("runs") / run):
        there = f"{note.size >> 20} MiB" if dump.exists() else "removed"
        console.print(
            Text.assemble(
                ("dump", "bold"), f" of {note.case}, {there}: {note.why}; ",
                f"lab drgn {run}:{note.case}",
            ),
            soft_wrap=True,
        )  # fmt: skip
