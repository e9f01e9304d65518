# SPDX-License-Identifier: GPL-2.0-or-later
"""A failure of an earlier run again: the same state built and judged, from what the run recorded.

All that the device had been given lies in the run's directory.  For copies that takes no guest;
what a file system makes of a state a guest must say.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.crash.logfile import WriteLog
from lab.errors import UsageError
from lab.guest.boot import Progress
from lab.host.scratch import scratch
from lab.profile.models import Profile
from lab.results import runs
from lab.results.bundle import Bundle, read, unpack
from lab.results.runs import PastRun
from lab.suites.copy_faults.bundle import bundle_named
from lab.suites.copy_faults.elsewhere import bundled, on
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.crash_states.minimise import CopyFailure
from lab.suites.crash_states.recording import LOG, CopyRecording

NAME = "crash-states"

_NAMED = re.compile(r"[\w.+@-]+(?:/[\w.+@-]+)*")


@dataclass
class StateReplay:
    """A failure, the rules it had broken, and those it broke each time again."""

    id: str
    operations: tuple[int, ...]
    loss: PowerLoss
    rules: tuple[str, ...]
    found: list[tuple[str, ...]] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)

    @property
    def same(self) -> list[bool]:
        """For each time whether it came to what is recorded."""
        return [set(self.rules) <= set(each) for each in self.found]

    @property
    def exit_status(self) -> int:
        """0: the same each time; 1: not so."""
        return int(not all(self.same))

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "replay_of": self.id,
            "operations": list(self.operations),
            "loss": self.loss.document(),
            "recorded": {"rules": list(self.rules)},
            "found": [list(each) for each in self.found],
            "evidence": self.evidence,
            "same": self.same,
        }


@dataclass(frozen=True)
class KeptRun:
    """The run in RUN[:FAILURE] or BUNDLE[:FAILURE], and the failure of it that is wanted."""

    name: str
    past: PastRun
    wanted: str
    bundle: Bundle | None = None
    """Where it lies in one."""

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """Its directory; that of a bundle is there for as long as the block lasts.  Raises
        UsageError."""
        if self.bundle is None:
            yield runs.directory(self.name)
            return
        with scratch() as place:
            yield unpack(self.bundle.path, place)

    def on(self, kernel: str | None, qemu: str | None) -> PastRun:
        """The run with the profile of a guest for it here, on another kernel or in another QEMU
        where they are given.

        Raises UsageError where there is none, or where a bundle asks for what it may not have.
        """
        try:
            profile = Profile.model_validate_json(self.past.profile)
        except ValueError as error:
            raise UsageError(f"{self.name} cannot be repeated: {error}") from error
        if self.bundle:
            profile = bundled(self.bundle.path, self.bundle.about, profile, kernel, qemu)
        else:
            profile = on(profile, kernel, qemu)
        return replace(self.past, profile=profile.model_dump_json(by_alias=True))


def _kept(text: str) -> KeptRun:
    """The run that is named.  Raises UsageError where there is none."""
    if found := bundle_named(text):
        path, wanted = found
        bundle = read(path)
        return KeptRun(str(path), bundle.past, wanted, bundle)
    run, _, wanted = text.partition(":")
    return KeptRun(run, runs.load(run), wanted)


def is_of(text: str) -> bool:
    """Whether RUN[:FAILURE] or BUNDLE[:FAILURE] names a run of this suite.  Raises UsageError."""
    if found := bundle_named(text):
        return read(found[0]).about.suite == NAME
    return runs.document(text.partition(":")[0]).get("suite") == NAME


def carry_out_again(
    text: str, times: int, progress: Progress, kernel: str | None = None, qemu: str | None = None
) -> StateReplay:
    """Judge a failure `times` times: that of the number, or the only one of the run or bundle; a
    guest for it has another kernel or QEMU, where they are given.

    Raises UsageError where there is none, HostError where the log is gone, and of a guest all that
    a boot raises.
    """
    run = _kept(text)
    # Nothing is unpacked for a failure that is not there, or whose guest may not be.
    failure, done = failure_of(run.past, run.name, run.wanted)
    past = run.on(kernel, qemu) if ":" in failure["case"] else run.past
    with run.directory() as directory:
        if ":" in failure["case"]:
            from lab.suites.crash_states.fs.replay import look_again

            look_again(past, directory, failure, done, times, progress)
        else:
            _judge_again(directory, done, times)
    return done


def failure_of(past: PastRun, name: str, wanted: str) -> tuple[dict[str, Any], StateReplay]:
    """Case and number of a failure of a run that is called `name`, and what judges it again: that
    of the number `wanted`, or the only one.  Raises UsageError where there is none."""
    try:
        failures = past.document.get("failures", [])
        chosen = [each for each in failures if wanted in ("", str(each["number"]))]
        if len(chosen) != 1:
            there = ", ".join(str(each["number"]) for each in failures) or "none"
            raise UsageError(
                f"{name}: {'which failure?' if chosen else f'no failure {wanted}'}",
                hint=f"lab replay {name}:NUMBER; there are: {there}",
            )
        (one,) = chosen
        operations = tuple(map(int, one["operations"]))
        loss, rules = PowerLoss.read(one["loss"]), tuple(map(str, one["rules"]))
        case, number = str(one["case"]), int(one["number"])
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise UsageError(
            f"{name} does not say how to repeat a failure: {type(error).__name__} {error}"
        ) from error
    # It becomes a path below the run's directory.
    section, colon, of = case.partition(":")
    below = f"{section}/{of}"
    if colon and (not _NAMED.fullmatch(below) or {".", ".."} & set(below.split("/"))):
        raise UsageError(f"{name}: no case is called {case!r}")
    done = StateReplay(f"{name}:{number}", operations, loss, rules)
    return {"case": case, "number": number}, done


def _judge_again(directory: Path, done: StateReplay, times: int) -> None:
    failure = CopyFailure(done.operations, done.loss)
    for _ in range(times):
        recording = CopyRecording.load(directory)
        with WriteLog(directory / LOG) as log:
            # What the log does not allow has not come about.
            possible = done.loss.possible(log)
            breaches = failure.breaches(recording, log) if possible else []
        done.found.append(tuple(sorted({breach.rule for breach in breaches})))
        done.evidence = [str(breach) for breach in breaches]
