# SPDX-License-Identifier: GPL-2.0-or-later
"""Latencies on the terminal: a table, and bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH = 48
"""Columns of the longest bar."""
_FIGURES = {"median": "median_us", "p99": "p99_us"}


def print_latency(rows: Sequence[dict[str, Any]]) -> None:
    """Reads of 4 KiB each way, in microseconds."""
    console = Console(highlight=False)
    console.print("\nread latency, 4 KiB at random, microseconds")
    table = Table("", *_FIGURES, "reads", "median of each round", box=None, pad_edge=False)
    for row in rows:
        rounds = ", ".join(f"{middle:.0f}" for middle, _ in row["rounds"])
        figures = (f"{row[key]:.0f}" for key in _FIGURES.values())
        table.add_row(row["way"], *figures, str(row["reads"]), rounds)
    console.print(table)
    for line in bars(rows):
        console.print(Text(line))


def bars(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A bar for each figure, all to one scale."""
    names = max(len(row["way"]) for row in rows)
    most = max(float(row[key]) for row in rows for key in _FIGURES.values()) or 1.0
    for title, key in _FIGURES.items():
        for row in rows:
            length = max(1, round(_WIDTH * row[key] / most))
            yield f"{title:6} {row['way']:{names}} {'█' * length} {row[key]:.0f}"
