# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs leave behind, from the worker that carried them out to whoever wants to look."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from lab.artifacts.depot import VARIABLE, Progress, opened
from lab.errors import HostError, UsageError
from lab.host import dirs
from lab.host.scratch import runs, scratch
from lab.results.store.query import night_named, run_named


def send(run: str) -> None:
    """Put the evidence of a run into the depot, if there is one.  Raises HostError."""
    depot = opened()
    if depot is not None and not depot.read_only:
        depot.put(f"runs/{run}", dirs.state("runs") / run, {})


def bring(run: str, progress: Progress) -> bool:
    """Fetch the evidence of a run, so that it lies as if it had run here; whether it had to be.

    Raises UsageError where there is no depot, HostError where it does not have it.
    """
    place = dirs.state("runs") / run
    if place.is_dir():
        return False
    depot = opened()
    if depot is None:
        raise UsageError(f"no depot: {VARIABLE} is not set", hint="docs/many-hosts.md")
    with scratch(runs) as partial:
        if depot.fetch(f"runs/{run}", partial, progress) is None:
            raise HostError(
                f"the depot has no evidence of run {run}",
                hint="its worker had no LAB_ARTIFACTS, or has not put it there yet",
            )
        try:
            partial.rename(place)
        except OSError as error:
            # Another lab may have brought it meanwhile.
            if not place.is_dir():
                raise dirs.not_writable(place, error) from error
            return False
    return True


def runs_named(session: Session, name: str, *, baseline: bool = True) -> Sequence[str]:
    """The run of that id, or those of the night of that id, by its unique beginning; without
    `baseline` not those on the night's baseline, unless it has no other kernel.

    Raises UsageError.
    """
    try:
        return [run_named(session, name).id]
    except UsageError:
        night = night_named(session, name)
    others = any(not job.baseline for job in night.jobs)
    wanted = (job for job in night.jobs if baseline or not (job.baseline and others))
    return [job.run_id for job in wanted if job.run_id]
