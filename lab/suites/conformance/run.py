"""The suite conformance: the same copies with the same faults, on the reference model and others.

Each path is a run of copy-faults of its own, in the guest of the profile; the reference model too
if the profile has it, and otherwise in a guest of a profile that has.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

from lab.copy.paths import PATHS, REFERENCE, find
from lab.errors import ProfileError
from lab.profile.load import load
from lab.profile.models import Profile
from lab.results.run import PROFILE, Run
from lab.suites.conformance import quirks
from lab.suites.conformance.options import NAME, Asked
from lab.suites.conformance.report import Conformance
from lab.suites.copy_faults import run as copy_faults
from lab.suites.request import Assignment
from lab.suites.watch import Watch

QUIRKS = "quirks.yaml"
"""In the run's directory: what is proposed for the differences found."""

REFERENCE_PROFILE = "loop-xfs-reflink"
"""Has the reference model, if the profile under test has it not."""


def run(assignment: Assignment[Asked], watch: Watch) -> Conformance:
    """Run the suite.  Only errors from before the first boot are raised (ProfileError,
    UsageError, HostError); others stand in what is returned."""
    profile, asked = assignment.profile, assignment.options
    todo = list(jobs(profile, asked))
    start = time.monotonic()
    total = 0

    def expect(cases: int) -> None:
        nonlocal total
        total += cases
        watch.expect(total)

    with Run(profile.name, NAME) as record:
        record.write(PROFILE, profile.model_dump_json(indent=1, by_alias=True))
        done = Conformance(
            record.id, record.directory, profile, asked.document(), known=asked.known
        )
        try:
            for job in todo:
                watch.progress(f"{job.path.name} on {job.path.ref} of {job.profile.name}")
                report = copy_faults.carry_out(job, replace(watch, expect=expect))
                done.reports.append(report)
                if report.error:
                    done.error = report.error
                    break
        finally:
            done.seconds = time.monotonic() - start
            if done.reports:
                record.write(QUIRKS, quirks.dump(quirks.propose(done.new(), done.device)))
            record.finish(done.document())
    return done


def jobs(profile: Profile, asked: Asked) -> Iterator[copy_faults.Job]:
    """The reference's job, and those of the paths that are compared with it."""
    paths = [name for name in asked.paths if name != REFERENCE] or [_own(profile)]
    try:
        find(profile, REFERENCE)
        home = profile
    except ProfileError:
        # On the same kernel: what differs shall be the path.
        home = load(REFERENCE_PROFILE, []).model_copy(update={"kernel": profile.kernel})
    for where, path in [(home, REFERENCE), *((profile, path) for path in paths)]:
        yield copy_faults.job(where, asked.options(where, path))


def _own(profile: Profile) -> str:
    """A profile's own path; where that is the reference, the first that is not."""
    if profile.path and profile.path.name != REFERENCE:
        return profile.path.name
    for name in PATHS:
        if name != REFERENCE and next(PATHS[name].candidates(profile), None):
            return name
    raise ProfileError(
        f"profile {profile.name} has no offload path to compare with {REFERENCE}",
        hint="add a disk or layer that can copy",
    )
