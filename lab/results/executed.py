# SPDX-License-Identifier: GPL-2.0-or-later
"""What was executed of a kernel, in words: for terminals, pages and mails."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from lab.results.coverage import (
    NEVER,
    Circumstance,
    CoverageReport,
    CoveredFile,
    Stretch,
    stretches,
)

COLUMNS = 72
"""As mailing lists have it."""

MAILED = 40
"""Stretches of a series in a mail."""

_LOST = 5
"""Cases that are named whose counts were lost."""

QUESTIONS = (NEVER, Circumstance.OUTSIDE, Circumstance.PLAIN)
"""What a reviewer asks of a series: what no case executed, and what none did with a fault."""

_SAID = {
    NEVER: "executed by nothing",
    Circumstance.OUTSIDE: "executed outside of cases only",
    Circumstance.PLAIN: "executed by cases without a fault only",
    Circumstance.FAULT: "executed by cases with a fault",
}


def headline(report: CoverageReport) -> str:
    """How many lines were executed, in a sentence."""
    return (
        f"Of {report.lines} lines of code in {', '.join(report.places)} cases executed "
        f"{report.executed} ({_percent(report.executed, report.lines)}), "
        f"{report.fault} of them ({_percent(report.fault, report.lines)}) with a fault."
    )


def of_series(report: CoverageReport) -> str:
    """The same of the series, in a sentence; '' without one."""
    if not report.series:
        return ""
    counts = {when: report.count(when) for when in reversed(list(_SAID))}
    words = [
        f"{count} {'was' if count == 1 else 'were'} {_SAID[when]}"
        for when, count in counts.items()
        if count
    ]
    return f"Of {len(report.series)} lines of code in the series {', '.join(words)}."


def cautions(report: CoverageReport) -> Iterator[str]:
    """What must be known before the numbers mean anything, a sentence each."""
    if report.uncounted:
        yield (
            f"The series also changes {', '.join(report.uncounted)}, of which no object was "
            "compiled to count: name it with --coverage."
        )
    if lost := {one.case: one.lost for one in report.lost if one.case}:
        which = "; ".join(f"{case} ({why})" for case, why in list(lost.items())[:_LOST])
        more = f"; and {len(lost) - _LOST} more" if len(lost) > _LOST else ""
        cases = "case" if len(lost) == 1 else "cases"
        yield f"Of {len(lost)} {cases} the last counts were lost with the guest: {which}{more}."


def asked(report: CoverageReport) -> list[Stretch]:
    """The lines of the series that were not executed with a fault, what matters most first."""
    return [each for when in QUESTIONS for each in stretches(report.series, when)]


def letter(report: CoverageReport) -> Iterator[str]:
    """The same for a mail: in sentences, then what of the series was not executed with a fault."""
    for sentence in filter(None, (of_series(report), headline(report), *cautions(report))):
        yield from wrap(sentence, COLUMNS)
    for when in QUESTIONS:
        found = stretches(report.series, when)
        if not found:
            continue
        yield from ("", f"{_SAID[when].capitalize()}:", "")
        for one in found[:MAILED]:
            yield f"  {one.where} {one.function}()" if one.function else f"  {one.where}"
            yield f"      {one.text[: COLUMNS - 6]}"
        if len(found) > MAILED:
            yield f"  and {len(found) - MAILED} more"


def by_directory(report: CoverageReport) -> list[tuple[str, Sequence[CoveredFile]]]:
    """The files by their directory."""
    found: dict[str, list[CoveredFile]] = {}
    for file in report.files:
        found.setdefault(file.file.rpartition("/")[0], []).append(file)
    return list(found.items())


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"
