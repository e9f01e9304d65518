# SPDX-License-Identifier: GPL-2.0-or-later
"""What the pages of a run show: its own, and those of its cases."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from sqlalchemy.orm import Session

from lab.host import dirs
from lab.results import runs
from lab.results.dumps import of_run, report_of
from lab.results.sectors.model import sector_map
from lab.results.site.allowance import Allowance
from lab.results.site.case import CaseKey, CaseShown, DumpShown, key, shown
from lab.results.site.conformance import table
from lab.results.site.draw import sectors, writes
from lab.results.site.draw.plots import distribution, steps
from lab.results.site.executed import ExecutedShown
from lab.results.site.history import boots, durations, outcomes
from lab.results.site.matrix import matrices
from lab.results.site.timeline import Event, by_case
from lab.results.store.query import cases_of
from lab.results.store.schema import CaseRow, RunRow

CONFORMANCE = "conformance"
"""The suite whose runs are compared with a reference."""

LISTED = 1000
"""Cases in the list of all; those that did not pass come first."""

FAILING = 100
"""Cases whose evidence stands on the run's page."""

BESIDE = 20
"""Differences whose maps stand side by side."""

DRAWN = 30
"""Power cuts whose logs are drawn."""

REPORT = 40_000
"""Characters of a dump's report that a page has."""

_FEW = 5
"""Copies of which a distribution says something."""

FAILED = ("fail", "hung", "crashed")
"""Statuses of what failed."""


@dataclass(frozen=True)
class RecordedRow:
    """A case in the store with what its run's document says of it, and its key if it has one."""

    row: CaseRow
    document: Mapping[str, Any]
    key: CaseKey | None


def told(
    session: Session, run: RunRow, allowed: Allowance
) -> tuple[dict[str, Any], list[CaseShown]]:
    """What the run's template needs, and what those of its cases do."""
    cases = cases_of(session, [run.id])
    document = runs.document(run.id)
    # A run of another host has no document here.
    documents = document.get("cases") or [{}] * len(cases)
    recorded = [
        RecordedRow(row, case, key(run.id, case))
        for row, case in zip(cases, documents, strict=False)
    ]
    pages = list(_pages(recorded, allowed))
    failing = [each for each in recorded if each.row.status in FAILED]
    order = sorted(recorded, key=lambda each: each.row.status == "pass")
    return {
        "run": run,
        "matrices": matrices(cases),
        "pages": {
            case.row.id: page.key.page
            for case, page in zip(_of(recorded, pages), pages, strict=True)
        },
        "by_key": {str(page.key): page.key.page for page in pages},
        "cases": [each.row for each in order[:LISTED]],
        "left_out": max(0, len(cases) - LISTED),
        "conformance": table(cases) if run.suite == CONFORMANCE else None,
        "differences": list(_differences(run.id, document)),
        "failing": [
            (each.row, each.key, outcomes(session, run, each.row.name))
            for each in failing[:FAILING]
        ],
        "more_failing": max(0, len(failing) - FAILING),
        "waits": _waits(documents),
        "cuts": [(one, writes.picture(one)) for one in document.get("failures", ())[:DRAWN]],
        "coverage": _coverage(document.get("coverage", ())),
        "latency": document.get("latency") or [],
        "latencies": _latencies(document.get("latency") or []),
        "durations": durations(session, run.suite, run.profile),
        "boots": boots(session, run.profile, run.kernel),
        "dumps": _dumps([run.id]),
        "executed": ExecutedShown.of([run.id]),
        "counts": Counter(case.status for case in cases),
    }, pages


def _pages(recorded: Sequence[RecordedRow], allowed: Allowance) -> Iterator[CaseShown]:
    """The cases that have a page, as far as that is allowed."""
    # What a plan's old documents call alike is told once.
    unique = list({each.key: each for each in recorded if each.key}.values())
    bad = [each for each in unique if each.row.status != "pass"][: allowed.failing]
    good = [each for each in unique if each.row.status == "pass"][: allowed.others]
    drawn = {each.key for each in (*bad[: allowed.failing_drawn], *good[: allowed.others_drawn])}
    events = _events([*bad, *good])
    dumps = _dumps({each.key.run for each in (*bad, *good) if each.key})
    for each in (*bad, *good):
        assert each.key
        yield shown(
            each.key, each.row.name, each.row.status, each.document,
            events.get(each.key, []), drawn=each.key in drawn,
            dumps=[one for one in dumps if one.case == str(each.key)],
        )  # fmt: skip


def _dumps(of: Iterable[str]) -> list[DumpShown]:
    """The dumps of runs, in which cases left their guests."""
    return [
        DumpShown(f"{run}:{note.case}", note.why, report_of(dump)[:REPORT])
        for run in of
        for dump, note in of_run(dirs.state("runs") / run)
    ]


def _of(recorded: Iterable[RecordedRow], pages: Iterable[CaseShown]) -> Iterator[RecordedRow]:
    by_key = {each.key: each for each in recorded}
    return (by_key[page.key] for page in pages)


def _events(recorded: Iterable[RecordedRow]) -> dict[CaseKey, list[Event]]:
    wanted: dict[str, set[int]] = {}
    for each in recorded:
        if each.key:
            wanted.setdefault(each.key.run, set()).add(each.key.number)
    return {
        CaseKey(run, number): events
        for run, numbers in wanted.items()
        for number, events in by_case(run, numbers).items()
    }


def _differences(
    run: str, document: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], list[Markup]]]:
    """Differences from the reference, with the maps of both sides."""
    cases = {str(key(run, case)): case for case in document.get("cases", ())}
    for number, one in enumerate(document.get("differences", ())):
        maps = []
        for side in (one["here"], one["reference"]) if number < BESIDE else ():
            found = sector_map(cases.get(side["case"], {})) if side else None
            maps.append(sectors.copied(found) if found else Markup())
        yield one, maps


def _waits(documents: Iterable[Mapping[str, Any]]) -> Markup:
    """How long callers waited for their copies, by path."""
    found: dict[str, list[float]] = {}
    for case in documents:
        if seconds := (case.get("outcome") or {}).get("seconds"):
            found.setdefault(str(case.get("path") or "copy"), []).append(seconds * 1000)
    of = {path: steps(values) for path, values in found.items() if len(values) >= _FEW}
    return distribution(of, "ms until the caller was told", "how long copies took, by path")


def _coverage(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """How much of each epoch was looked at; those of a name are numbered."""
    numbers: Counter[str] = Counter()
    found: list[Mapping[str, Any]] = []
    for row in rows:
        numbers[row["name"]] += 1
        found.append({**row, "epoch": numbers[row["name"]]})
    return found


def _latencies(rows: Iterable[Mapping[str, Any]]) -> Markup:
    of = {
        str(row["way"]): [(float(us), float(part)) for part, us in row.get("percentiles") or ()]
        for row in rows
    }
    return distribution(of, "µs for a read of 4 KiB", "how long reads took, by way")
