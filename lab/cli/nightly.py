# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab nightly`: a plan of runs, unattended."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.terminal import phases, print_error, print_json, print_table, timed_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.orm import Session

    from lab.farm.notify.send import Notices
    from lab.farm.plan import Plan
    from lab.results.baseline import Comparison
    from lab.results.news import Night
    from lab.results.store.schema import JobRow, NightRow


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(nightly)


def nightly(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan in YAML.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and how long that takes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Carry out a plan, or resume it.

    Exit status 1 if a kernel is worse than the baseline.
    """
    from lab.farm.plan import load

    wanted = load(plan)
    if dry_run:
        _dry_run(wanted, json)
        return
    from lab.farm.night import carry_out, unfinished
    from lab.farm.notify.send import notices
    from lab.farm.outcome import document, exit_status, with_before
    from lab.farm.retention import trim
    from lab.host.settings import load as settings
    from lab.results.store.database import session

    # Whom it could not tell should be known before a night, not after it.
    wanted_to_know = notices(settings().notify)
    say = timed_lines()
    with session() as store:
        if night := unfinished(store, wanted):
            say(f"resume {night.id}")
        night = carry_out(store, wanted, say, lambda job, total: _tell(say, job, total))
        for removed in trim(store, wanted):
            say(f"evidence of {removed} removed")
        whole = with_before(store, night)
        status = exit_status(night, whole.found)
        if json:
            print_json(document(night, whole.found))
        else:
            _print(night, whole.found)
        say("write the pages")
        say(_pages(store, whole).as_uri())
        if wanted_to_know.due(whole) and not tell(wanted_to_know, whole):
            status = 3
    raise typer.Exit(status)


def _pages(store: Session, night: Night) -> Path:
    """Write the pages of a night and its runs; that of the night."""
    from lab.host import dirs
    from lab.results.site.write import write
    from lab.results.store.schema import RunRow

    runs = [store.get(RunRow, job.run_id) for job in night.row.jobs if job.run_id]
    index = write(store, dirs.state("site"), night, [run for run in runs if run])
    return index.with_name(f"{night.row.id}.html")


def tell(notices: Notices, night: Night) -> bool:
    """Tell all who are to be told of a night; whether that went well."""
    well = True
    for who, error in notices.tell(night):
        if error:
            print_error(error)
            well = False
        else:
            print(f"told: {who}", file=sys.stderr)
    return well


def _tell(say: Callable[[str], None], job: JobRow, total: int) -> None:
    from lab.farm.night import PENDING, as_job

    words = f"[{job.position}/{total}] {as_job(job).title}"
    if job.state != PENDING:
        words += f": {job.state}" + (f" after {job.seconds:.0f} s" if job.seconds else "")
        words += f": {job.said.splitlines()[-1]}" if job.said else ""
    say(words)


def _dry_run(plan: Plan, json: bool) -> None:
    from lab.farm.estimate import seconds
    from lab.farm.plan import jobs
    from lab.results.store.database import session
    from lab.results.store.feed import feed

    with phases() as progress, session() as store:
        progress("take in new runs")
        feed(store)
        wanted = [(job, seconds(store, job)) for job in jobs(plan)]
    total = sum(taken or 0.0 for _, taken in wanted)
    unknown = sum(taken is None for _, taken in wanted)
    if json:
        print_json(
            {
                "jobs": [{**job.document(), "seconds": taken} for job, taken in wanted],
                "seconds": total,
                "budget": plan.budget,
            }
        )
        return
    reached, rows = 0.0, []
    for number, (job, taken) in enumerate(wanted, 1):
        late = " (beyond the budget)" if reached >= plan.budget else ""
        rows.append((str(number), job.title + late, "?" if taken is None else _span(taken)))
        reached += taken or 0.0
    print_table(("", "run", "about"), rows)
    more = f", and {unknown} that nobody has timed yet" if unknown else ""
    print(f"{len(wanted)} runs, about {_span(total)}{more}; budget {_span(plan.budget)}")


def _span(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(seconds))


def _print(night: NightRow, found: Mapping[str, Comparison]) -> None:
    from collections import Counter

    from lab.cli.compare import print_comparison

    states = Counter(job.state for job in night.jobs)
    print(f"{night.id}: " + ", ".join(f"{count} runs {state}" for state, count in states.items()))
    for kernel, comparison in found.items():
        print(f"\n{kernel}:")
        print_comparison(comparison)
    for job in night.jobs:
        if job.said:
            print(f"\nrun {job.position} failed in the lab: {job.said}")
