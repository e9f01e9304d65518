# SPDX-License-Identifier: GPL-2.0-or-later
"""A night left to workers: its rows and its tasks, in one transaction, and its end before time."""

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from procrastinate.jobs import Job as Task
from sqlalchemy import select
from sqlalchemy.orm import Session

from lab import __version__
from lab.artifacts.book import Book
from lab.artifacts.cache import Artifact
from lab.artifacts.depot import Progress, opened, share
from lab.artifacts.kernel import ensure_kernel
from lab.artifacts.kernels.names import BOOK as KERNELS
from lab.artifacts.qemus.names import BOOK as QEMUS
from lab.errors import UsageError
from lab.farm import estimate
from lab.farm.hosts import queue
from lab.farm.hosts.claim import LEFT, leave_out, now
from lab.farm.hosts.needs import Needs, Offer, needs_of, refusals
from lab.farm.hosts.roster import present
from lab.farm.night import new_night
from lab.farm.plan import Job, Plan, jobs
from lab.profile.find import find as find_profile
from lab.results.store.schema import JobRow, NightRow, WorkerRow
from lab.share import directory
from lab.suites.request import Request
from lab.suites.suite import find

UNKNOWN = 3600.0
"""Seconds that a run is taken to last where nothing like it ran before: it begins early."""

SHORT = 15.0
"""Seconds; shorter runs go to a worker several at a time."""

BATCH = 60.0
"""Seconds that those are to take together."""


def defer(session: Session, plan: Plan, progress: Progress) -> NightRow:
    """Leave the runs of a plan to workers, with the kernels that only this host knows.  Commits.

    Raises UsageError where a night of the plan is under way, HostError where such a kernel cannot
    be built or brought.
    """
    queue.prepare(session)
    if (night := under_way(session, plan.name)) is not None:
        raise UsageError(
            f"{night.id} is under way",
            hint=f"lab nightly {plan.name}.yaml --watch follows it, --stop ends it",
        )
    wanted = jobs(plan)
    kernels = bring_kernels(wanted, progress)
    night = new_night(plan, wanted, now(session), socket.gethostname())
    night.version = __version__
    alike: dict[tuple[Request, tuple[str, ...]], tuple[float | None, dict[str, Any]]] = {}
    for row, job in zip(night.jobs, wanted, strict=True):
        key = (job.request, job.labels)
        if key not in alike:
            asked = needs(job, kernels).model_dump(mode="json")
            alike[key] = estimate.seconds(session, job), asked
        row.expected, row.needs = alike[key]
    session.add(night)
    session.flush()
    guests = sum(worker.guests for worker in present(session))
    batches = list(batched(list(zip(night.jobs, wanted, strict=True)), guests))
    numbers = queue.put(session, [_task(batch) for batch in batches])
    for batch, number in zip(batches, numbers, strict=True):
        for row, _ in batch:
            row.task = number
    session.commit()
    return night


def under_way(session: Session, plan: str = "") -> NightRow | None:
    """The latest night that workers are at, of a plan if one is named."""
    asked = select(NightRow).where(NightRow.ended.is_(None), NightRow.version != "")
    if plan:
        asked = asked.where(NightRow.plan == plan)
    return session.scalars(asked.order_by(NightRow.started.desc()).limit(1)).first()


def stop(session: Session, night: NightRow) -> int:
    """End a night: what has not ended is left out, what runs is broken off; how many that are.
    Commits."""
    tasks = session.scalars(
        select(JobRow.task).where(JobRow.night_id == night.id, JobRow.state.in_(LEFT)).distinct()
    ).all()
    leave_out(session, night)
    for task in tasks:
        if task is not None:
            queue.abort(session, task)
    left: int = sum(job.state == "left out" for job in night.jobs)
    session.commit()
    return left


def needs(job: Job, kernels: Mapping[str, str]) -> Needs:
    """What a job of a plan needs of a host; `kernels` are in the depot.  Raises ProfileError."""
    asked = job.request
    trees = [asked.suite] if find(asked.suite).tree else []
    own = [f"QEMU {asked.qemu}"] if _of_this_host(asked.qemu, QEMUS) else []
    if _of_this_host(asked.kernel, KERNELS) and asked.kernel not in kernels:
        own.append(f"kernel {asked.kernel}")
    if not find_profile(asked.profile).is_relative_to(directory("profiles")):
        own.append(f"profile {asked.profile}")
    found = needs_of(asked.load(), job.labels, trees, own)
    return found.model_copy(update={"kernel": kernels.get(asked.kernel, "")})


def bring_kernels(wanted: Iterable[Job], progress: Progress) -> dict[str, str]:
    """Build the kernels that only this host knows, and put them into the depot; what they are
    called there.  Where there is none, none is brought.

    Raises HostError.
    """
    depot = opened()
    if depot is None or depot.read_only:
        return {}
    found = {}
    for name in dict.fromkeys(job.request.kernel for job in wanted):
        if _of_this_host(name, KERNELS):
            place = ensure_kernel(name, progress).vmlinux.parent
            progress(f"kernel {name}: to the depot")
            share("kernel", place, Artifact("kernel", name, "", place).manifest().versions)
            found[name] = place.name
    return found


def _of_this_host(reference: str, book: Book[Any]) -> bool:
    """Whether a kernel or QEMU means nothing elsewhere: a path, a commit, a name given here."""
    return reference in book.added() or reference.startswith("/") or "@" in reference


def nowhere(workers: Sequence[WorkerRow], wanted: Needs) -> list[str]:
    """Why none of the workers can carry a run out, a line for each; empty if one can."""
    told = []
    for worker in workers:
        why = list(refusals(wanted, Offer.model_validate(worker.offer)))
        if not why:
            return []
        told.append(f"{worker.name}: {', '.join(why)}")
    return told


def batched(pairs: Sequence[tuple[JobRow, Job]], guests: int) -> Iterator[list[tuple[JobRow, Job]]]:
    """The jobs as workers get them: short ones that need the same together, others alone.

    As long as that leaves several batches for each guest that there is.
    """
    share = sum(row.expected or UNKNOWN for row, _ in pairs) / max(1, 4 * guests)
    limit = min(BATCH, share)
    for _, alike in groupby(pairs, key=lambda pair: (pair[1].priority, pair[0].needs)):
        batch: list[tuple[JobRow, Job]] = []
        for row, job in alike:
            taken = UNKNOWN if row.expected is None else row.expected
            if batch and (taken > SHORT or _length(batch) + taken > limit):
                yield batch
                batch = []
            batch.append((row, job))
        yield batch


def _length(batch: Iterable[tuple[JobRow, Job]]) -> float:
    return sum(UNKNOWN if row.expected is None else row.expected for row, _ in batch)


def _task(batch: Sequence[tuple[JobRow, Job]]) -> Task:
    first, job = batch[0]
    of = Needs.model_validate(first.needs).queue
    longest = max((UNKNOWN if row.expected is None else row.expected) for row, _ in batch)
    return queue.task(of, priority_of(job.priority, longest), [row.id for row, _ in batch])


def priority_of(planned: int, expected: float | None) -> int:
    """Procrastinate's priority, 32 bits: the plan's first, then the longest run."""
    seconds = UNKNOWN if expected is None else expected
    return max(-2000, min(2000, planned)) * 1_000_000 + min(999_999, round(seconds))
