# SPDX-License-Identifier: GPL-2.0-or-later
"""A workload on a file system, from its recording to all that came of it."""

import json
import shutil
from typing import TYPE_CHECKING

from lab.crash.excerpt import LogExcerpt
from lab.crash.marks import STARTED
from lab.results.cases import Case, CaseStatus, titled
from lab.results.coverage import Circumstance
from lab.suites.crash_states.fs.bench import FsBench, StepMissing, StepRefused
from lab.suites.crash_states.fs.fewer import FailingWorkload, fewest
from lab.suites.crash_states.fs.judging import BrokenState, FsJudging, RunEnds, now
from lab.suites.crash_states.fs.kinds import FileSystemKind
from lab.suites.crash_states.fs.model import compare
from lab.suites.crash_states.fs.progress import JudgedWorkload
from lab.suites.crash_states.fs.record import WORKLOAD, FsRecording, failure_place, record
from lab.suites.crash_states.fs.workload import FsWorkload
from lab.suites.crash_states.recording import LOG
from lab.suites.crash_states.report import CoverageRow, StateFailure
from lab.suites.guest import GuestLost

if TYPE_CHECKING:
    from lab.suites.crash_states.fs.run import FsCampaign

_TOLD_EVERY = 500
"""Sequences."""


class WorkloadJudging:
    """A workload on a file system, recorded and judged."""

    def __init__(
        self, campaign: "FsCampaign", bench: FsBench, kind: FileSystemKind, workload: FsWorkload,
    ) -> None:  # fmt: skip
        self._campaign = campaign
        self._bench = bench
        self._kind = kind
        self._workload = workload
        self._rows: list[CoverageRow] = []
        self._start, _ = now()

    def all(self) -> JudgedWorkload:
        """What it has come to.  Raises RunEnds and LabError."""
        own = self._bench.own
        own.works_for(self._title, Circumstance.PLAIN)
        try:
            base = self._campaign.bases.get(self._bench, self._kind, self._workload)
            recording = record(self._bench, self._kind, base, self._workload, self._campaign.plant)
        except StepMissing as missing:
            return JudgedWorkload(self._case(CaseStatus.NOTRUN, str(missing)))
        except StepRefused as refused:
            words = f"failed without any crash: {refused}"
            return JudgedWorkload(self._case(CaseStatus.FAIL, str(refused), words))
        except GuestLost as lost:
            words = own.last_words(lost, self._title)
            self._bench.lose()
            return JudgedWorkload(self._case(lost.status, lost.reason, words))
        # What mounts now finds what a power cut has left.
        own.works_for(self._title, Circumstance.FAULT)
        failures = [self._failure(recording, each) for each in self._broken(recording)]
        recording.log.unlink()
        said = [f"unlike POSIX without any crash: {each}" for each in recording.unlike]
        for each in failures:
            said += [
                f"failure {each.number}: {each.loss}",
                *(f"    {one}" for one in each.evidence),
            ]
        reason = next(iter([*recording.unlike, *(each.evidence[0] for each in failures)]), "")
        status = CaseStatus.FAIL if said else CaseStatus.PASS
        case = self._case(status, reason, "\n".join([reason, *said]))
        return JudgedWorkload(case, tuple(self._rows), tuple(failures))

    def model(self) -> JudgedWorkload:
        """What sequences without a crash have come to.  Raises RunEnds and LabError."""
        options, told = self._campaign.options, 0
        self._bench.own.works_for(self._title, Circumstance.PLAIN)
        done = said = 0
        try:
            for done, found, odd in compare(
                self._bench, self._kind, options.plan.seed, options.sequences
            ):
                said += found
                if odd:
                    words = [*map(str, map(dict, odd.steps)), *odd.said]
                    return JudgedWorkload(
                        self._case(CaseStatus.FAIL, odd.said[0], "\n".join(words))
                    )
                if self._campaign.stop.is_set():
                    raise RunEnds
                if done - told >= _TOLD_EVERY:
                    told = done
                    self._campaign.ledger.watcher.progress(f"{self._kind.name}: {done} sequences")
        except GuestLost as lost:
            words = [self._bench.own.last_words(lost, self._title)]
            self._bench.lose()
            return JudgedWorkload(self._case(lost.status, lost.reason, "\n".join(words)))
        output = f"{done} sequences, {said} of them to their end: no difference"
        return JudgedWorkload(self._case(CaseStatus.PASS, "", output))

    @property
    def _title(self) -> str:
        """What listings call it."""
        return titled(self._kind.name, self._workload.name)

    def _case(self, status: CaseStatus, reason: str, output: str = "") -> Case:
        seconds = round(now()[0] - self._start, 3)
        return Case(self._workload.name, status, seconds, reason, self._kind.name, output=output)

    def _broken(self, recording: FsRecording) -> list[BrokenState]:
        """The first state of each kind that breaks rules; how much was looked at is noted."""
        known: dict[tuple[str, ...], BrokenState] = {}
        judging = FsJudging(
            self._bench, self._kind, self._campaign.options.plan, self._campaign.reach
        )
        wall, busy = now()
        for judged in judging.states(recording):
            clock, spent = now()
            self._rows.append(
                CoverageRow(
                    self._title,
                    judged.coverage,
                    clock - wall,
                    spent - busy,
                    judged.looked,
                    judged.checked,
                )
            )
            wall, busy = clock, spent
            for each in judged.broken:
                known.setdefault(each.rules, each)
        return list(known.values())

    def _failure(self, recording: FsRecording, broken: BrokenState) -> StateFailure:
        """A failure made small, and kept with what it takes to see it again."""
        every = tuple(range(1, len(self._workload.steps) + 1))
        first = FailingWorkload(recording, broken, every)
        small = fewest(first, self._again) if len(every) > 1 else first
        number = self._campaign.number()
        self._keep(small.recording, number)
        wrong = sum(row.coverage.wrong for row in self._rows)
        loss = small.broken.loss
        made = StateFailure(
            number, self._title, broken.rules, tuple(map(str, small.broken.broken)), wrong,
            small.steps, loss, broken.first, self._excerpt(small.recording, loss.cut),
        )  # fmt: skip
        if small.recording is not recording:
            small.recording.log.unlink()
        return made

    def _again(
        self, workload: FsWorkload, rules: tuple[str, ...]
    ) -> tuple[FsRecording, BrokenState] | None:
        """Whether a smaller workload has a state that breaks the same rules."""
        try:
            base = self._campaign.bases.get(self._bench, self._kind, workload)
            recording = record(self._bench, self._kind, base, workload, self._campaign.plant)
        except GuestLost:
            # That is another failure than the one that is made smaller.
            self._bench.lose()
            return None
        judging = FsJudging(
            self._bench, self._kind, self._campaign.options.plan, self._campaign.reach
        )
        for judged in judging.states(recording):
            for each in judged.broken:
                if set(rules) <= set(each.rules):
                    return recording, each
        recording.log.unlink()
        return None

    def _keep(self, recording: FsRecording, number: int) -> None:
        name = self._workload.name
        directory = failure_place(self._campaign.run.directory, self._kind.name, name, number)
        directory.mkdir(parents=True)
        shutil.copy(recording.log, directory / LOG)
        document = {
            "file_system": self._kind.name,
            **recording.workload.document(),
            "marks": [each.document() for each in recording.marks],
        }
        (directory / WORKLOAD).write_text(json.dumps(document, indent=1) + "\n")

    @staticmethod
    def _excerpt(recording: FsRecording, cut: int) -> LogExcerpt:
        """The log around a cut, with the steps by their names."""
        steps = recording.workload.steps
        marks = [
            (each, f"{'' if each.event == STARTED else '✓ '}{steps[each.operation - 1]['do']}")
            for each in recording.marks
        ]
        with recording.open() as log:
            return LogExcerpt.of(log, cut, marks)
