# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases on the terminal: while they run, and what they came to."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.cli.show.latency import print_latency
from lab.cli.show.watch import duration, watching
from lab.results.cases import Case, CaseStatus, counts, ratios

if TYPE_CHECKING:
    from lab.suites.outcome import Results
    from lab.suites.watch import Watcher

STYLES = {
    CaseStatus.PASS: "green",
    CaseStatus.NOTRUN: "yellow",
    CaseStatus.FELL_BACK: "yellow",
    CaseStatus.FAIL: "bold red",
    CaseStatus.HUNG: "bold red",
    CaseStatus.CRASHED: "bold red",
}

_SHOWN = 12
"""Lines of a failing case's output that the terminal gets; its file has all."""


def watched(_options: object) -> AbstractContextManager[Watcher[Case]]:
    """Show a run."""
    return watching(summary, lambda case: STYLES[case.status])


def summary(case: Case) -> str:
    """A case in a line."""
    repeated = f" ({case.attempt})" if case.attempt > 1 else ""
    known = f" [known: {case.known}]" if case.known else ""
    reason = f": {case.reason}" if case.reason else ""
    return f"{case.title}{repeated} {case.status} {case.seconds:.1f} s{reason}{known}"


def show(outcome: Results, _options: object) -> None:
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
