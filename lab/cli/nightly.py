# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab nightly`: a plan of runs, unattended."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.terminal import phases, print_error, print_json, print_table, timed_lines, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.orm import Session

    from lab.farm.notify.send import Notices
    from lab.farm.plan import Job, Plan
    from lab.results.baseline import Comparison
    from lab.results.news import Night
    from lab.results.store.schema import JobRow, NightRow


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(nightly)


def nightly(
    plan: Annotated[
        Path | None,
        typer.Argument(metavar="PLAN", help="A plan in YAML; with --watch and --stop its name."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and how long that takes.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow the night that workers carry out, to its end.")
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="End the night that workers carry out.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Carry out a plan, or resume it; where LAB_STORE is PostgreSQL, leave it to workers.

    Exit status 1 if a kernel is worse than the baseline.
    """
    from lab.errors import UsageError
    from lab.farm.plan import load
    from lab.results.store.database import shared

    if watch and stop:
        raise UsageError("--watch and --stop: one of them")
    if stop:
        _stop(plan)
        return
    if plan is None and not watch:
        raise UsageError("which PLAN?", hint="or --watch, or --stop")
    if watch and (plan is None or not plan.exists()):
        _watch(_under_way(plan), json)
        return
    assert plan is not None
    wanted = load(plan)
    if dry_run:
        _dry_run(wanted, json)
    elif shared():
        told = _wanted_to_know() if watch else None
        night = (watch and _under_way_of(wanted)) or _defer(wanted, watch=watch, json=json)
        if watch:
            _watch(night, json, told)
    elif watch:
        _under_way(plan)
    else:
        _carry_out(wanted, json)


def _carry_out(wanted: Plan, json: bool) -> None:
    """The night of a plan, on this host."""
    from lab.farm.night import carry_out, unfinished
    from lab.farm.retention import trim
    from lab.results.store.database import session

    wanted_to_know = _wanted_to_know()
    say = timed_lines()
    with session() as store:
        if night := unfinished(store, wanted):
            say(f"resume {night.id}")
        night = carry_out(store, wanted, say, lambda job, total: _tell(say, job, total))
        for removed in trim(store, wanted):
            say(f"evidence of {removed} removed")
        status = _conclude(store, night, wanted_to_know, json)
    raise typer.Exit(status)


def _wanted_to_know() -> Notices:
    """Who is to be told: whom it could not tell should be known before a night, not after it."""
    from lab.farm.notify.send import notices
    from lab.host.settings import load

    return notices(load().notify)


def _conclude(store: Session, night: NightRow, wanted: Notices | None, json: bool) -> int:
    """Print what a night came to; if there are such as wanted to know, write its pages and tell
    them.  Its exit status."""
    from lab.farm.outcome import document, exit_status, with_before

    whole = with_before(store, night)
    status = exit_status(night, whole.found)
    if json:
        print_json(document(night, whole.found))
    else:
        _print(night, whole.found)
    if wanted is None:
        return status
    print(f"pages: {_pages(store, whole).as_uri()}", file=sys.stderr)
    return 3 if wanted.due(whole) and not tell(wanted, whole) else status


def _pages(store: Session, night: Night) -> Path:
    """Write the pages of a night and its runs; that of the night."""
    from lab.host import dirs
    from lab.results.site.write import write
    from lab.results.store.schema import RunRow

    runs = [store.get(RunRow, job.run_id) for job in night.row.jobs if job.run_id]
    latest = [run for run in reversed(runs) if run]
    index = write(store, dirs.state("site"), night, latest)
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


def _defer(wanted: Plan, *, watch: bool, json: bool) -> str:
    """Leave a plan's runs to workers; the night.  Its JSON is that of its end, if it is watched."""
    from lab.farm.hosts.deferral import defer
    from lab.farm.hosts.watch import waiting_for_nobody
    from lab.farm.outcome import document
    from lab.results.store.database import session

    with phases() as progress, session() as store:
        night = defer(store, wanted, progress)
        line = f"{night.id}: {len(night.jobs)} runs are left to workers"
        print(line, file=sys.stderr if json else sys.stdout)
        if json and not watch:
            print_json(document(night, {}))
        for line in waiting_for_nobody(store, night):
            warn(line)
    print("lab nightly --watch follows it, lab nightly --stop ends it", file=sys.stderr)
    return night.id


def _under_way_of(wanted: Plan) -> str:
    """The night of a plan that workers are at; '' for none."""
    from lab.farm.hosts.deferral import under_way
    from lab.results.store.database import session

    with session() as store:
        night = under_way(store, wanted.name)
    return night.id if night else ""


def _under_way(plan: Path | None) -> str:
    """The night that workers are at, of a plan if one is named, or else the last one."""
    from lab.errors import UsageError
    from lab.farm.hosts import queue
    from lab.farm.hosts.deferral import under_way
    from lab.farm.hosts.watch import newest
    from lab.results.store.database import session

    queue.require()
    with session() as store:
        night = under_way(store, plan.stem if plan else "")
        if night is None and plan is None:
            night = newest(store)
    if night is None:
        of = f" of {plan.stem}" if plan else ""
        raise UsageError(f"no night{of} is under way", hint="lab nightly PLAN begins one")
    return night.id


def _watch(night: str, json: bool, wanted: Notices | None = None) -> None:
    """Follow a night to its end, print what it came to, and tell such as wanted to know."""
    from lab.farm.hosts.watch import follow
    from lab.results.store.database import session
    from lab.results.store.schema import NightRow

    follow(night, timed_lines())
    with session() as store:
        status = _conclude(store, store.get_one(NightRow, night), wanted, json)
    raise typer.Exit(status)


def _stop(plan: Path | None) -> None:
    """End the night that workers are at."""
    from lab.farm.hosts.deferral import stop
    from lab.results.store.database import session
    from lab.results.store.schema import NightRow

    name = _under_way(plan)
    with session() as store:
        left = stop(store, store.get_one(NightRow, name))
    print(f"{name}: ended, {left} runs left out")


def _tell(say: Callable[[str], None], job: JobRow, total: int) -> None:
    from lab.farm.night import PENDING, as_job

    words = f"[{job.position}/{total}] {as_job(job).title}"
    if job.state != PENDING:
        words += f": {job.state}" + (f" after {job.seconds:.0f} s" if job.seconds else "")
        words += f": {job.said.splitlines()[0]}" if job.said else ""
    say(words)


def _dry_run(plan: Plan, json: bool) -> None:
    from lab.farm.actions import matrix
    from lab.farm.estimate import seconds
    from lab.farm.plan import jobs
    from lab.results.store.database import session, shared
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
                "matrix": matrix(wanted),
            }
        )
        return
    if shared():
        _warn_of_nowhere([job for job, _ in wanted])
    reached, rows = 0.0, []
    for number, (job, taken) in enumerate(wanted, 1):
        late = " (beyond the budget)" if reached >= plan.budget else ""
        rows.append((str(number), job.title + late, "?" if taken is None else _span(taken)))
        reached += taken or 0.0
    print_table(("", "run", "about"), rows)
    more = f", and {unknown} that nobody has timed yet" if unknown else ""
    print(f"{len(wanted)} runs, about {_span(total)}{more}; budget {_span(plan.budget)}")


def _warn_of_nowhere(wanted: Sequence[Job]) -> None:
    """Tell of runs that none of the workers that there are now can take."""
    from lab.farm.hosts.deferral import needs, nowhere
    from lab.farm.hosts.roster import present
    from lab.results.store.database import session

    with session() as store:
        workers = present(store)
    told = {f"{job.title}: {line}" for job in wanted for line in nowhere(workers, needs(job, {}))}
    for line in sorted(told):
        warn(line)


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
