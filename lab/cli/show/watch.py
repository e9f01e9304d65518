# SPDX-License-Identifier: GPL-2.0-or-later
"""A run on the terminal while it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from lab.cli.terminal import timed_lines

if TYPE_CHECKING:
    from lab.suites.watch import Watcher

C = TypeVar("C")


@contextmanager
def watching(summary: Callable[[C], str], style: Callable[[C], str]) -> Iterator[Watcher[C]]:
    """Show a run: a bar with rate and time left on a terminal, a line per case elsewhere.

    `summary` is a case in a line, `style` how it stands above the bar; one without is not shown
    there.
    """
    if not sys.stderr.isatty():
        yield _Lines(summary)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar, bar.add_task("…", total=None, pace=""), summary, style)


class _Lines(Generic[C]):
    def __init__(self, summary: Callable[[C], str]) -> None:
        self.progress = timed_lines()
        self._summary = summary
        self._pace = Pace()

    def on_begin(self, title: str) -> None:
        """No line: that comes with the result."""
        self._pace.begin()

    def on_total(self, cases: int) -> None:
        self._pace.total = cases
        self.progress(f"{cases} cases")

    def on_case(self, case: C) -> None:
        self._pace.done += 1
        left = f"  [{self._pace}]" if self._pace.left else ""
        self.progress(self._summary(case) + left)


class _Bar(Generic[C]):
    def __init__(
        self, bar: Progress, task: TaskID, summary: Callable[[C], str], style: Callable[[C], str]
    ) -> None:
        self._bar = bar
        self._task = task
        self._summary = summary
        self._style = style
        self._pace = Pace()

    def progress(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def on_begin(self, title: str) -> None:
        self._pace.begin()
        self._bar.update(self._task, description=title)

    def on_total(self, cases: int) -> None:
        self._pace.total = cases
        self._bar.update(self._task, total=cases)

    def on_case(self, case: C) -> None:
        self._pace.done += 1
        self._bar.update(self._task, advance=1, pace=str(self._pace))
        if style := self._style(case):
            self._bar.console.print(Text(self._summary(case), style))


class Pace:
    """How fast cases come to their ends, and when the last will, in words."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start: float | None = None
        self.total = 0
        self.done = 0

    def begin(self) -> None:
        """A case begins: time counts from the first on."""
        if self._start is None:
            self._start = self._now()

    @property
    def left(self) -> int:
        """Cases without a result."""
        return max(0, self.total - self.done)

    def __str__(self) -> str:
        passed = self._now() - self._start if self._start is not None else 0.0
        if not self.done or passed <= 0:
            return ""
        rate = self.done / passed
        return f"{60 * rate:.1f} a minute, {duration(self.left / rate)} left"


def duration(seconds: float) -> str:
    """Seconds in words: `42 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
