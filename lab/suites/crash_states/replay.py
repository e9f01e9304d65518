# SPDX-License-Identifier: GPL-2.0-or-later
"""A failure of an earlier run again: the same state built and judged, from what the run recorded.

All that the device had been given lies in the run's directory.  For copies that takes no guest;
what a file system makes of a state a guest must say.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.crash.logfile import WriteLog
from lab.errors import UsageError
from lab.guest.boot import Progress
from lab.results import runs
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.crash_states.minimise import CopyFailure
from lab.suites.crash_states.recording import LOG, CopyRecording

NAME = "crash-states"


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


def is_of(text: str) -> bool:
    """Whether RUN or RUN:FAILURE names a run of this suite."""
    return runs.document(text.partition(":")[0]).get("suite") == NAME


def carry_out_again(text: str, times: int, progress: Progress) -> StateReplay:
    """Judge failure RUN:NUMBER `times` times, or the only one of RUN.

    Raises UsageError where there is none, HostError where the log is gone, and of a guest all that
    a boot raises.
    """
    run, _, wanted = text.partition(":")
    past = runs.load(run)
    failures = past.document.get("failures", [])
    chosen = [each for each in failures if wanted in ("", str(each["number"]))]
    if len(chosen) != 1:
        there = ", ".join(str(each["number"]) for each in failures) or "none"
        raise UsageError(
            f"run {run}: {'which failure?' if chosen else f'no failure {wanted}'}",
            hint=f"lab replay {run}:NUMBER; there are: {there}",
        )
    (one,) = chosen
    done = StateReplay(
        f"{run}:{one['number']}", tuple(one["operations"]), PowerLoss.read(one["loss"]),
        tuple(one["rules"]),
    )  # fmt: skip
    if ":" in one["case"]:
        from lab.suites.crash_states.fs.replay import look_again

        look_again(past, runs.directory(run), one["case"], done, times, progress)
    else:
        _judge_again(runs.directory(run), done, times)
    return done


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
