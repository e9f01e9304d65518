# SPDX-License-Identifier: GPL-2.0-or-later
"""A workload that fails, made smaller: without a step at a time, as long as it fails alike."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lab.suites.crash_states.fs.bench import StepRefused
from lab.suites.crash_states.fs.history import SYNCS
from lab.suites.crash_states.fs.judging import BrokenState
from lab.suites.crash_states.fs.record import FsRecording
from lab.suites.crash_states.fs.tree import StepImpossible
from lab.suites.crash_states.fs.workload import FsWorkload

MOST_WORKLOADS = 8
"""Smaller ones that are carried out."""


@dataclass(frozen=True)
class FailingWorkload:
    """A recorded workload with a state that breaks rules; `steps` are those of the first one that
    are left, from 1 on."""

    recording: FsRecording
    broken: BrokenState
    steps: tuple[int, ...]


Try = Callable[[FsWorkload, tuple[str, ...]], tuple[FsRecording, BrokenState] | None]
"""Records a workload, and looks for a state that breaks these rules.  Raises StepRefused."""


def fewest(first: FailingWorkload, attempt: Try) -> FailingWorkload:
    """The smallest workload found whose states break the same rules, as far as single steps lead
    there.  What it takes the place of is given up; the log of the first is left alone."""
    found, tries = first, MOST_WORKLOADS
    while tries:
        for workload, steps in _smaller(found):
            if not tries:
                break
            tries -= 1
            try:
                tried = attempt(workload, first.broken.rules)
            except StepRefused:
                continue
            if tried:
                if found is not first:
                    found.recording.log.unlink()
                found = FailingWorkload(*tried, steps)
                break
        else:
            break
    return found


def _smaller(of: FailingWorkload) -> Iterator[tuple[FsWorkload, tuple[int, ...]]]:
    """Without one step that can be left out, operations first."""
    workload = of.recording.workload
    steps = workload.steps
    order = sorted(range(len(steps)), key=lambda at: steps[at]["do"] in SYNCS)
    for at in order:
        rest = (*steps[:at], *steps[at + 1 :])
        if all(step["do"] in SYNCS for step in rest):
            continue
        candidate = replace(workload, steps=rest)
        try:
            candidate.history  # noqa: B018 - whether the others can do without it
        except StepImpossible:
            continue
        yield candidate, (*of.steps[:at], *of.steps[at + 1 :])
