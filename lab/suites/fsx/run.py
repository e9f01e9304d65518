# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite fsx: the lab's own exerciser on a file system of the profile."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.errors import GuestError, ProfileError, UsageError
from lab.guest.boot import Platform
from lab.guest.kernel_words import Heard
from lab.guest.kmsg import fatal
from lab.profile.layers.filesystems import FileSystem, MountLayer
from lab.profile.models import Profile, stack
from lab.results.cases import Case, CaseStatus, titled
from lab.results.coverage import Circumstance
from lab.suites.fsx.case import Course, FileMismatch
from lab.suites.fsx.client import Exerciser, OperationTimeout
from lab.suites.fsx.model import Mismatch
from lab.suites.fsx.options import FsxOptions
from lab.suites.guest import GuestLost, RunGuest
from lab.suites.ledger import Ledger
from lab.suites.outcome import Results
from lab.suites.record import recorded
from lab.suites.request import Assignment
from lab.suites.watch import Watcher

NAME = "fsx"
FILE = "exerciser"

_DEADLINE = 120.0
"""Seconds that an operation may take, unless the person says otherwise."""
_LAYERS_DEADLINE = 300.0


@dataclass(frozen=True)
class Places:
    """Where the file is, and what is shut down below it; mount points in the guest."""

    name: str
    mount: str
    shutdown: str = ""

    @property
    def file(self) -> str:
        """The file that is worked on."""
        return f"{self.mount}/{FILE}"


def places(profile: Profile, options: FsxOptions) -> Places:
    """The file system on top, or the one that was asked for.

    Raises ProfileError when there is none, UsageError for one that does not exist.
    """
    mounted = {layer.name: layer for layer in profile.layers if isinstance(layer, MountLayer)}
    tops = [name for name in mounted if name not in stack(profile).users]
    if not tops:
        raise ProfileError(
            f"profile {profile.name}: fsx needs a file system",
            hint="add one to the profile's layers, or take loop-xfs-reflink",
        )
    for name in filter(None, (options.on, options.shutdown)):
        if name not in mounted:
            raise UsageError(f"no file system {name}", hint=f"there are: {', '.join(mounted)}")
    if options.shutdown and not isinstance(mounted[options.shutdown], FileSystem):
        raise UsageError(f"{options.shutdown} cannot be shut down: it is mounted from a server")
    name = options.on or tops[-1]
    below = mounted[options.shutdown].mount_point if options.shutdown else ""
    return Places(name, mounted[name].mount_point, below)


def run(asked: Assignment[FsxOptions], watcher: Watcher[Case]) -> Results:
    """Boot, carry out the cases and take the guest down.

    What the lab itself fails at ends the run and stands in the outcome; only errors from before the
    boot are raised (UsageError, ProfileError, HostError).
    """
    profile, options = asked.profile, asked.options
    where = places(profile, options)
    platform = Platform.find(profile, watcher.progress)
    with recorded(
        Results, NAME, profile, platform, options.document(), selected=options.cases
    ) as (record, outcome):  # fmt: skip
        ledger = Ledger(record, watcher, cases=outcome.cases)
        watcher.on_total(options.cases)
        with RunGuest(record, profile, platform, watcher.progress) as own:
            bench = _FsxBench(own, where, options)
            how = Circumstance.FAULT if where.shutdown else Circumstance.PLAIN
            own.listen()
            own.describe(outcome)
            outcome.speed = own.speed.slower
            for number in range(options.cases):
                name = _name(options.seed + number)
                ledger.begin(where.name, name)
                own.works_for(titled(where.name, name), how)
                ledger.add(bench.case(options.seed + number))
                own.works_for("", Circumstance.OUTSIDE)
    return outcome


def _name(seed: int) -> str:
    return f"seed-{seed}"


@dataclass
class _FsxBench:
    """Where cases are carried out, in a guest that some of them spoil."""

    own: RunGuest
    where: Places
    options: FsxOptions

    @property
    def deadline(self) -> float:
        """Seconds that an operation may take."""
        return self.options.deadline or _DEADLINE

    def case(self, seed: int) -> Case:
        """Carry out the case of a seed, and judge it."""
        self.own.listen()
        start = time.monotonic()
        course = self._course(seed)
        heard = Heard()
        status, reason, extra = self._judged(seed, course, heard)
        directory = f"cases/{self.where.name}/{_name(seed)}"
        evidence = {"operations.jsonl": course.log.text(), **extra}
        if status is not CaseStatus.PASS:
            evidence["dmesg"] = heard.text()
        for name, text in evidence.items():
            self.own.run.save(f"{directory}/{name}", text.encode())
        refused = [f"{kind}: {said}" for kind, said in course.refused.items()]
        return Case(
            _name(seed), status, round(time.monotonic() - start, 3), reason, self.where.name,
            files=tuple(sorted(f"{directory}/{name}" for name in evidence)),
            output="\n".join(f"not supported: {text}" for text in refused),
        )  # fmt: skip

    def _course(self, seed: int) -> Course:
        numbers = random.Random(seed)
        ops = len(self.options.replay) or self.options.ops
        exerciser = Exerciser(self.own.connect(), self.where.file, self.deadline)
        down: Callable[[], None] | None = None
        if self.where.shutdown:
            request = {"op": "shutdown", "path": self.where.shutdown}

            def down() -> None:
                if answer := exerciser.request(request)["errno"]:
                    raise GuestError(f"{self.where.shutdown} cannot be shut down: errno {answer}")

        at = numbers.randint(max(1, ops // 2), ops)
        return Course(exerciser, numbers, ops, self.options.kinds, self.options.replay, down, at)

    def _judged(
        self, seed: int, course: Course, heard: Heard
    ) -> tuple[CaseStatus, str, dict[str, str]]:
        """What a case comes to: its status, why, and what a guest that is lost has to say."""
        try:
            status, reason = self._verdict(course, heard)
        except GuestLost as lost:
            heard += lost.messages
            console = self.own.last_words(lost, titled(self.where.name, _name(seed)))
            self.own.lose()
            return lost.status, lost.reason, {"console": console} if console else {}
        finally:
            course.exerciser.close()
        return status, reason, {}

    def _verdict(self, course: Course, heard: Heard) -> tuple[CaseStatus, str]:
        """What becomes of the file.  Raises GuestLost when the guest cannot go on."""
        try:
            found = self._wrong(course)
            heard += self.own.heard()
        except OperationTimeout as overdue:
            raise self.own.overdue(f"no answer within {self.deadline:.0f} s") from overdue
        except GuestError as error:
            raise self.own.gone(error) from error
        if trouble := next((text for text in heard if fatal(text)), ""):
            raise GuestLost(CaseStatus.CRASHED, trouble, tuple(self.own.aftermath()))
        return (CaseStatus.FAIL, found) if found else (CaseStatus.PASS, "")

    def _wrong(self, course: Course) -> str:
        """What is wrong with the file after the course, or in it; '' if nothing is."""
        try:
            course.run()
            lost = self._after_loss(course) if course.shut_down else None
        except FileMismatch as wrong:
            return str(wrong)
        return f"data lost that was fsynced: {lost}" if lost else ""

    def _after_loss(self, course: Course) -> Mismatch | None:
        """Take everything down, bring it up again, and compare what is there with what must be."""
        course.exerciser.close()
        self.own.run.emit("suite", "remount", versions=len(course.model.versions))
        self.own.connect().run(["layers", "down"], deadline=_LAYERS_DEADLINE)
        done = self.own.connect().run(["layers", "up"], deadline=_LAYERS_DEADLINE, check=False)
        if done.status:
            said = " ".join((done.stderr or done.stdout).split()[-30:])
            raise FileMismatch(f"the file systems do not come up again: {said}")
        again = Exerciser(self.own.connect(), self.where.file, self.deadline)
        try:
            again.request({"op": "open", "fresh": False})
            answer = again.request({"op": "sums", "drop": False})
        finally:
            again.close()
        if answer["errno"]:
            raise FileMismatch(f"the file cannot be read after the loss: {answer['said']}")
        return course.model.lost(answer["size"], answer["sums"])
