# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands print: progress, tables, JSON and errors.

Results go to stdout; progress, warnings and errors to stderr, so that a pipe gets results only.
"""

from __future__ import annotations

import json as json_module
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab.foreign import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.errors import LabError


def print_json(value: object) -> None:
    """Print a document for machines."""
    print(json_module.dumps(value, indent=2))


def print_error(error: LabError) -> None:
    """One line that names cause and cure, then what the system said, indented."""
    line = f"lab: {error.message}"
    if error.hint:
        line += f" — {error.hint}"
    print(line, file=sys.stderr)
    for detail in error.detail.splitlines():
        print(f"  | {detail}", file=sys.stderr)


def warn(text: str) -> None:
    """A line that the user should see, but that stops nothing."""
    print(f"lab: warning: {harmless(text)}", file=sys.stderr)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table that fits the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        # Text, not str: brackets are no markup.
        table.add_row(*(Text(harmless(cell), overflow="fold") for cell in row))
    Console().print(table)


def timed_lines() -> Callable[[str], None]:
    """The function that prints a line of progress with the seconds since now, where no terminal
    could show anything livelier."""
    start = time.monotonic()
    return lambda text: print(
        f"[{time.monotonic() - start:6.1f} s] {harmless(text)}", file=sys.stderr, flush=True
    )


@contextmanager
def phases() -> Iterator[Callable[[str], None]]:
    """Show what is being done: a spinner with the phase and its seconds on a terminal, a line
    per phase elsewhere.  Yields the function that takes the phases."""
    if not sys.stderr.isatty():
        yield timed_lines()
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("…", total=None)
        yield lambda text: progress.update(task, description=escape(harmless(text)))
