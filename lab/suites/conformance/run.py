# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite conformance: the same copies with the same faults, on the reference model and others.

Each path is a run of copy-faults of its own, in the guest of the profile; the reference model too
if the profile has it, and otherwise in a guest of a profile that has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lab.copy.paths import REFERENCES, find, paths
from lab.coverage import report
from lab.errors import ProfileError
from lab.profile.load import load
from lab.profile.models import Profile
from lab.suites.conformance import quirks
from lab.suites.conformance.options import NAME, ConformanceOptions
from lab.suites.conformance.report import Conformance
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.run import carry_out
from lab.suites.copy_faults.sweep import Sweep, as_sweep
from lab.suites.record import recorded
from lab.suites.request import Assignment
from lab.suites.watch import Watcher

QUIRKS = "quirks.yaml"
"""In the run's directory: what is proposed for the differences found."""


@dataclass
class _Sum:
    """Whoever watches the run, as each of its paths has them."""

    watcher: Watcher[CaseResult]
    total: int = 0

    def __post_init__(self) -> None:
        self.progress = self.watcher.progress
        self.on_begin = self.watcher.on_begin
        self.on_case = self.watcher.on_case

    def on_total(self, cases: int) -> None:
        """So many more are to come."""
        self.total += cases
        self.watcher.on_total(self.total)


def run(assignment: Assignment[ConformanceOptions], watcher: Watcher[CaseResult]) -> Conformance:
    """Run the suite.  Only mistakes in what is asked are raised (ProfileError, UsageError); what
    the lab itself fails at ends the run and stands in what is returned."""
    profile, asked = assignment.profile, assignment.options
    todo = list(sweeps(profile, asked))
    each = _Sum(watcher)
    with recorded(
        Conformance, NAME, profile, None, asked.document(), known=asked.known,
        reference=asked.reference,
    ) as (record, done):  # fmt: skip
        try:
            for sweep in todo:
                watcher.progress(f"{sweep.path.name} on {sweep.path.ref} of {sweep.profile.name}")
                done.add(carry_out(sweep, each))
                if done.error:
                    break
            parts = [part.directory for part in done.reports]
            done.executed = report.join(record.directory, parts)
        finally:
            if done.reports:
                record.write(QUIRKS, quirks.dump(quirks.propose(done.new(), done.device)))
    return done


def sweeps(profile: Profile, asked: ConformanceOptions) -> Iterator[Sweep]:
    """The reference's sweep, and those of the paths that are compared with it."""
    reference = asked.reference
    names = [name for name in asked.paths if name != reference] or [_own(profile, reference)]
    try:
        find(profile, reference)
        home = profile
    except ProfileError:
        # On the same kernel: what differs shall be the path.
        home = load(REFERENCES[reference], []).model_copy(update={"kernel": profile.kernel})
    for where, path in [(home, reference), *((profile, name) for name in names)]:
        yield as_sweep(where, asked.options(where, path))


def _own(profile: Profile, reference: str) -> str:
    """A profile's own path; where that is the reference, the first that is not."""
    if profile.path and profile.path.name != reference:
        return profile.path.name
    for name, path in paths().items():
        if name != reference and next(path.candidates(profile), None):
            return name
    raise ProfileError(
        f"profile {profile.name} has no offload path to compare with {reference}",
        hint="add a disk or layer that can copy",
    )
