"""Cases on the terminal: while they run, and what they came to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from lab.cli.show.latency import print_latency
from lab.cli.terminal import timed_lines
from lab.results.cases import Case, Status, counts, ratios

if TYPE_CHECKING:
    from lab.suites.outcome import Outcome
    from lab.suites.upstream.campaign import Watcher

STYLES = {
    Status.PASS: "green",
    Status.NOTRUN: "yellow",
    Status.FAIL: "bold red",
    Status.HUNG: "bold red",
    Status.CRASHED: "bold red",
}

_SHOWN = 12
"""Lines of a failing case's output that the terminal gets; its file has all."""


@contextmanager
def watched(_options: object) -> Iterator[Watcher]:
    """Show a run: a bar with rate and time left on a terminal, a line per case elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar, bar.add_task("…", total=None, pace=""))


class _Lines:
    def __init__(self) -> None:
        self.progress = timed_lines()
        self._pace = Pace()

    def on_begin(self, title: str) -> None:
        """Nothing: the line comes with the result."""

    def on_total(self, cases: int) -> None:
        self._pace.begin(cases)
        self.progress(f"{cases} cases")

    def on_case(self, case: Case) -> None:
        self._pace.done += 1
        left = f"  [{self._pace}]" if self._pace.left else ""
        self.progress(summary(case) + left)


class _Bar:
    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._pace = Pace()

    def progress(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def on_begin(self, title: str) -> None:
        self._bar.update(self._task, description=title)

    def on_total(self, cases: int) -> None:
        self._pace.begin(cases)
        self._bar.update(self._task, total=cases)

    def on_case(self, case: Case) -> None:
        self._pace.done += 1
        self._bar.update(self._task, advance=1, pace=str(self._pace))
        self._bar.console.print(Text(summary(case), STYLES[case.status]))


class Pace:
    """How fast cases come to their ends, and when the last will, in words."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start = now()
        self._total = 0
        self.done = 0

    def begin(self, total: int) -> None:
        """The first case is about to begin."""
        self._total, self._start = total, self._now()

    @property
    def left(self) -> int:
        """Cases without a result."""
        return max(0, self._total - self.done)

    def __str__(self) -> str:
        passed = self._now() - self._start
        if not self.done or passed <= 0:
            return ""
        rate = self.done / passed
        return f"{60 * rate:.1f} a minute, {duration(self.left / rate)} left"


def duration(seconds: float) -> str:
    """Seconds in words: `42 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def summary(case: Case) -> str:
    """A case in a line."""
    repeated = f" ({case.attempt})" if case.attempt > 1 else ""
    known = f" [known: {case.known}]" if case.known else ""
    reason = f": {case.reason}" if case.reason else ""
    return f"{case.title}{repeated} {case.status} {case.seconds:.1f} s{reason}{known}"


def show(outcome: Outcome, _options: object) -> None:
    """What failed and why, how many of which kind, on what, and where the evidence lies; and what
    was measured."""
    console = Console(highlight=False)
    print_cases(console, outcome.cases)
    # The distribution's package version, in parentheses, is in the JSON.
    qemu = outcome.qemu.partition(" (")[0]
    missing = outcome.selected - len(outcome.cases)
    lacking = f", {missing} without a result" if missing else ""
    console.print(
        f"{len(outcome.cases)} cases in {duration(outcome.seconds)}: "
        f"{tally(outcome.cases)}{lacking}"
    )
    slower = f", {outcome.speed:.0f} times slower than hardware" if outcome.speed > 1 else ""
    console.print(f"kernel {outcome.kernel}, QEMU {qemu}, {outcome.accelerator.upper()}{slower}")
    console.print(f"evidence: {outcome.directory}", soft_wrap=True)
    if outcome.guest:
        console.print(
            f"guest {outcome.guest} is still up: lab ssh {outcome.guest}; lab down {outcome.guest}",
            soft_wrap=True,
        )
    if outcome.latency:
        print_latency(outcome.latency)


def print_cases(console: Console, cases: Iterable[Case]) -> None:
    """What is worth a look: failures with their output, known ones that passed, flaky ones."""
    cases = list(cases)
    for case in cases:
        if case.unexpected:
            console.print(Text(summary(case), STYLES[case.status]))
            lines = case.output.splitlines()
            for line in lines[1 : _SHOWN + 1]:
                console.print(Text(line, "dim"), soft_wrap=True)
            if len(lines) > _SHOWN + 1:
                console.print(Text(f"    … {len(lines) - _SHOWN - 1} more lines", "dim"))
        elif case.repaired:
            text = f"{case.title} passed, but was expected to fail: {case.known}"
            console.print(Text(text, "yellow"))
    for title, (passed, of) in ratios(cases).items():
        if 0 < passed < of:
            console.print(Text(f"{title} is flaky: passed {passed} of {of} times", "yellow"))


def tally(cases: Iterable[Case]) -> str:
    """Cases by status, in words."""
    cases = list(cases)
    known = sum(1 for case in cases if case.known and not case.repaired)
    words = [f"{number} {status}" for status, number in counts(cases).items()]
    if known:
        words.append(f"{known} of them known failures")
    return ", ".join(words) or "none"


def table(cases: Iterable[Case]) -> Table:
    """All cases, a row for each."""
    made = Table("case", "status", "seconds", "reason", box=None, pad_edge=False)
    for case in cases:
        repeated = f" ({case.attempt})" if case.attempt > 1 else ""
        reason = case.reason + (f" [known: {case.known}]" if case.known else "")
        made.add_row(
            Text(case.title + repeated),
            Text(case.status, STYLES[case.status]),
            f"{case.seconds:.1f}",
            Text(reason),
        )
    return made
