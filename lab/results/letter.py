# SPDX-License-Identifier: GPL-2.0-or-later
"""A night in words, for a mail, and as JSON, for a webhook."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any

from lab.host import dirs
from lab.results import coverage, executed
from lab.results.baseline import Comparison
from lab.results.compare import ChangeKind, counts
from lab.results.coverage import CoverageReport
from lab.results.executed import COLUMNS
from lab.results.news import Night, sentence

LISTED = 25
"""New things in a mail; it is no archive."""

POSTED = 100
"""New things in the JSON."""

_TOLD = (
    ChangeKind.REGRESSED, ChangeKind.NEW_FAILING, ChangeKind.FIXED, ChangeKind.FLAKY,
    ChangeKind.STILL_FAILING, ChangeKind.NOT_RUN,
)  # fmt: skip


def matters(night: Night) -> bool:
    """Whether something became worse, or the lab failed."""
    return bool(night.news() or night.failed())


def subject(night: Night) -> str:
    """The subject of a mail, with what is new in a few words."""
    news, failed = len(night.news()), night.failed()
    words = [f"{news} new"] if news else []
    words += [f"the lab failed in {failed} of {len(night.row.jobs)} runs"] if failed else []
    return f"[lab] {night.row.plan} {night.row.started:%Y-%m-%d}: " + (
        ", ".join(words) or "nothing new"
    )


def text(night: Night, page: str = "") -> str:
    """The body of a mail, plain and no wider than COLUMNS but for what cannot be broken; `page` is
    the address of the night's page, if it has one."""
    return "\n".join(_lines(night, page)) + "\n"


def document(night: Night, page: str = "") -> dict[str, Any]:
    """The same for programs."""
    news = night.news()
    return {
        "night": night.row.id,
        "plan": night.row.plan,
        "host": night.row.host,
        "started": _utc(night.row.started),
        "ended": night.row.ended and _utc(night.row.ended),
        "headline": night.headline(),
        "news": [
            {
                "kernel": kernel, "change": one.change.value, "suite": one.item.suite,
                "profile": one.item.profile, "case": one.item.case, "rule": one.item.rule or None,
                "sentence": sentence(kernel, one),
            }
            for kernel, one in news[:POSTED]
        ],
        "more_news": max(0, len(news) - POSTED),
        "runs": dict(Counter(job.state for job in night.row.jobs)),
        "kernels": {kernel: _changes(found) for kernel, found in night.found.items()},
        "coverage": {report.kernel: report.document() for report in _covered(night)},
        "page": page or None,
    }  # fmt: skip


def _lines(night: Night, page: str) -> Iterator[str]:
    row = night.row
    yield from wrap(f"{night.headline()}.", COLUMNS)
    yield ""
    news = night.news()
    for kernel, one in news[:LISTED]:
        yield from _item(sentence(kernel, one))
    if len(news) > LISTED:
        yield from _item(f"and {len(news) - LISTED} more")
    if news:
        yield ""
    for kernel, comparison in night.found.items():
        changes = [f"{count} {change}" for change, count in _changes(comparison).items()]
        found = ", ".join(changes) or "the same everywhere"
        yield from wrap(f"{kernel} against the baseline: {found}.", COLUMNS)
        for warning in comparison.warnings:
            yield from _item(f"careful: {warning}")
    if night.found:
        yield ""
    for job in row.jobs:
        if job.said:
            what = f"run {job.position}, {job.suite} on {job.profile}, {job.kernel}"
            said = " ".join(job.said.split())[:300]
            yield from wrap(f"The lab failed in {what}: {said}", COLUMNS)
    for report in _covered(night):
        yield from wrap(f"{report.kernel}:", COLUMNS)
        yield from (*executed.letter(report), "")
    states = Counter(job.state for job in row.jobs)
    runs = ", ".join(f"{count} runs {state}" for state, count in states.items())
    yield from wrap(f"{row.id} on {row.host}: {runs}, {_span(night)}.", COLUMNS)
    if page:
        yield f"Page: {page}"
    yield from ("", "Again:", "")
    for words in dict.fromkeys(_again(night)):
        yield f"  {words}"


def _covered(night: Night) -> list[CoverageReport]:
    """What the night executed of the kernels that count it."""
    runs = (job.run_id for job in night.row.jobs if job.run_id)
    found = (coverage.of_run(dirs.state("runs") / run) for run in runs)
    return coverage.merged(filter(None, found))


def _item(words: str) -> list[str]:
    return wrap(words, COLUMNS, initial_indent="- ", subsequent_indent="  ")


def _again(night: Night) -> Iterator[str]:
    for job in night.row.jobs:
        if not job.baseline:
            qemu = f" --qemu {job.qemu_name}" if job.qemu_name else ""
            args = " ".join(json.loads(job.args))
            words = f" -- {args}" if args else ""
            yield f"lab run {job.profile} {job.suite} --kernel {job.kernel}{qemu}{words}"


def _utc(moment: datetime) -> str:
    """With its zone, which SQLite does not keep."""
    return moment.replace(tzinfo=UTC).isoformat() if moment.tzinfo is None else moment.isoformat()


def _changes(comparison: Comparison) -> dict[str, int]:
    """How many cases changed in which way."""
    shown = {change.value for change in _TOLD}
    return {change: count for change, count in counts(comparison.cases).items() if change in shown}


def _span(night: Night) -> str:
    minutes = sum(job.seconds for job in night.row.jobs) / 60
    return f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.0f} minutes"
