"""The suite conformance: the same copies with the same faults, on the reference model and others.

Each path is a run of copy-faults of its own, in the guest of the profile; the reference model too
if the profile has it, and otherwise in a guest of a profile that has.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.copy import plant, quirks
from lab.copy.conformance import Difference, Matrix, Observed, Ruled, Situation, differences, matrix
from lab.copy.model import Completion
from lab.copy.paths import PATHS, REFERENCE, find
from lab.copy.quirks import Quirk
from lab.errors import LabError, ProfileError, UsageError
from lab.faults.model import Action, actions_named
from lab.profile.load import load
from lab.profile.models import Profile
from lab.results.run import PROFILE, Run
from lab.suites import copy_faults
from lab.suites.arguments import Parser
from lab.suites.options import MAX_DEADLINE, Options
from lab.suites.report import Judged, Report
from lab.suites.watch import Watch

NAME = "conformance"
QUIRKS = "quirks.yaml"
"""In the run's directory: what is proposed for the differences found."""

REFERENCE_PROFILE = "loop-xfs-reflink"
"""Has the reference model, if the profile under test has it not."""

ACTIONS = (
    Action.RESUME, Action.EIO, Action.ENOSPC, Action.DELAY, Action.KILL, Action.POWER_CUT,
    Action.SIZE,
)  # fmt: skip
"""What every path can be done, so that all can be compared; sizes are tried where there are
limits."""

SECTORS = 64
"""Of one source range; whole blocks of every path."""


@dataclass(frozen=True)
class Asked:
    """What `lab run PROFILE conformance -- …` was asked for."""

    paths: tuple[str, ...]
    ranges: int
    actions: tuple[Action, ...]
    hang_deadline: float
    known: tuple[Quirk, ...]

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "paths": list(self.paths),
            "ranges": self.ranges,
            "actions": [str(action) for action in self.actions],
            "hang_deadline": self.hang_deadline,
            "quirks": len(self.known),
        }

    def options(self, profile: Profile, path: str) -> Options:
        """The sweep of one path."""
        unit = find(profile, path).unit
        return Options(
            self.ranges, max(SECTORS // unit, 1), self.actions, (), plant.find(""),
            self.hang_deadline, path=path,
        )  # fmt: skip


def parse(args: list[str]) -> Asked:
    """Read the suite's arguments.  Raises UsageError, or Help where that is asked for."""
    parser = Parser(NAME)
    add = parser.add_argument
    add("--paths", default="", metavar="P,…", help="the paths to compare [the profile's own]")
    add("--ranges", type=int, default=2, metavar="N", help="source ranges of 32 KiB each [2]")
    add("--actions", default="", metavar="A,…", help="what to do [what every path can be done]")
    add("--quirks", type=Path, metavar="FILE", help="known differences")
    add("--hang-deadline", type=float, default=10.0, metavar="S", help="seconds to complete [10]")
    given = parser.parse_args(args)
    paths = tuple(dict.fromkeys(name for name in given.paths.split(",") if name))
    for name in paths:
        if name not in PATHS:
            raise UsageError(f"no offload path {name}", hint=f"there are: {', '.join(PATHS)}")
    if given.ranges < 1:
        raise UsageError(f"{NAME}: --ranges must be positive")
    if not 0 < given.hang_deadline <= MAX_DEADLINE:
        raise UsageError(f"{NAME}: --hang-deadline must be within {MAX_DEADLINE:.0f} s")
    known = tuple(quirks.load(given.quirks)) if given.quirks else ()
    actions = actions_named(given.actions) or ACTIONS
    return Asked(paths, given.ranges, actions, given.hang_deadline, known)


@dataclass
class Conformance:
    """A run of the suite: the reports of its paths, the reference's first."""

    run: str
    directory: Path
    profile: Profile
    asked: dict[str, Any]
    reports: list[Report] = field(default_factory=list)
    known: tuple[Quirk, ...] = ()
    seconds: float = 0.0
    error: LabError | None = None

    @property
    def device(self) -> str:
        """On what the differences were seen, as quirks name it."""
        seen = self.reports[-1]
        return f"QEMU {seen.qemu}, Linux {seen.kernel}"

    def observed(self) -> list[Observed]:
        """All judged cases, as they are compared."""
        return [_observed(report, case) for report in self.reports for case in report.cases]

    def matrix(self) -> Matrix:
        """The worst ruling by path, situation and rule."""
        return matrix(self.observed())

    def differences(self) -> list[Difference]:
        """Where the other paths differ from the reference."""
        return differences(self.observed(), REFERENCE)

    def quirk(self, difference: Difference) -> Quirk | None:
        """The known quirk that a difference is."""
        covering = (quirk for quirk in self.known if quirk.covers(difference, self.device))
        return next(covering, None)

    def new(self) -> list[Difference]:
        """The differences that are no known quirk."""
        return [each for each in self.differences() if not self.quirk(each)]

    @property
    def exit_status(self) -> int:
        """0: no difference, but known quirks; 1: a new one, or a path that could not be compared;
        otherwise that of the lab's error."""
        if self.error:
            return self.error.exit_status
        exercised = {case.path for case in self.observed() if case.exercised}
        incomparable = any(report.path.name not in exercised for report in self.reports)
        return int(incomparable or bool(self.new()))

    def document(self) -> dict[str, Any]:
        """The run's JSON."""
        return {
            "run": self.run,
            "suite": NAME,
            "profile": self.profile.name,
            "options": self.asked,
            "reference": REFERENCE,
            "device": self.device if self.reports else None,
            **self._platform(),
            "paths": [_column(report) for report in self.reports],
            "differences": [self._difference(each) for each in self.differences()],
            "cases": list(self._cases()),
            "seconds": round(self.seconds, 3),
            "error": str(self.error) if self.error else None,
        }

    def _platform(self) -> dict[str, Any]:
        """What the paths under test ran on."""
        if not self.reports:
            return {}
        last = self.reports[-1]
        return {
            "kernel": last.kernel,
            "qemu": last.qemu,
            "accelerator": last.accelerator,
            "boot": last.boot,
        }

    def _difference(self, found: Difference) -> dict[str, Any]:
        quirk = self.quirk(found)
        return {
            "path": found.path,
            "rule": found.rule,
            "situation": str(found.situation),
            "here": _ruled(found.here),
            "reference": found.reference and _ruled(found.reference),
            "known": quirk and quirk.consequence,
        }

    def _cases(self) -> Iterator[dict[str, Any]]:
        for report in self.reports:
            for case in report.cases:
                yield {
                    "run": report.run,
                    "situation": str(_situation(case)),
                    **case.document(),
                }


def _column(report: Report) -> dict[str, Any]:
    return {
        "path": report.path.name,
        "on": report.path.ref,
        "does": report.path.does,
        "profile": report.profile.name,
        "run": report.run,
        "not_supported": report.not_supported or None,
        "verdicts": report.counts(),
    }


def _ruled(ruled: Ruled) -> dict[str, str]:
    return {"verdict": str(ruled.ruling), "evidence": ruled.evidence, "case": ruled.case}


def _situation(case: Judged) -> Situation:
    return Situation(case.setup.point.stage, case.setup.action, case.setup.size)


def _observed(report: Report, case: Judged) -> Observed:
    seen = case.result.situation
    told = seen.completion
    failed = told if told and told.error and seen.injected else None
    name = f"{report.run}:{case.number}"
    return Observed(
        path=report.path.name,
        situation=_situation(case),
        rules={
            rule: Ruled(found.verdict, found.evidence, name)
            for rule, found in case.result.rules.items()
        },
        error=failed.error if failed else "",
        misnamed=_misnamed(report, case, failed),
        exercised=case.result.verdict != "not exercised",
    )


def _misnamed(report: Report, case: Judged, failed: Completion | None) -> str:
    """What is wrong with the status that the caller was told of a failed medium or of a copy above
    a limit; '' if nothing."""
    told = case.result.situation.completion
    if case.result.situation.excess and told and not told.succeeded:
        return report.path.refuses_wrongly(told)
    return report.path.misnames(failed, case.setup.point.stage) if failed else ""


def run(profile: Profile, asked: Asked, watch: Watch) -> Conformance:
    """Run the suite.  Only errors from before the first boot are raised (ProfileError,
    UsageError, HostError); others stand in what is returned."""
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
