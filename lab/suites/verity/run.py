# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite verity, from boot to take-down."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from lab.errors import GuestError, ProfileError, UsageError
from lab.guest.boot import Platform
from lab.guest.kmsg import fatal
from lab.profile.layers.data import DmCrypt, DmIntegrity
from lab.profile.models import Profile
from lab.results.cases import Case, CaseStatus, titled
from lab.results.coverage import Circumstance
from lab.suites.guest import GuestLost, RunGuest
from lab.suites.ledger import Ledger
from lab.suites.outcome import Results
from lab.suites.record import recorded
from lab.suites.request import Assignment
from lab.suites.verity import latency, refusals
from lab.suites.verity.checker import Checker, CheckerTimeout, CheckFailure
from lab.suites.verity.options import VerityOptions
from lab.suites.verity.scene import CaseDeclined, VerityCase, VerityScene
from lab.suites.verity.sectors import Sectors
from lab.suites.verity.target import targets
from lab.suites.verity.trees import Trees
from lab.suites.watch import Watcher
from lab.vm.disks import find_disks

NAME = "verity"
NO_RETRIES = "nvme_core.max_retries=0"
"""A read error that QEMU gives must not be tried again: it would only take longer."""

_DEADLINE = 120.0
"""Seconds that one request to the guest may take."""


class VeritySubject(Protocol):
    """What is tested: cases on some layers of the profile."""

    def cases(self) -> Iterator[VerityCase]:
        """The cases that leave the guest up, in their order."""

    def endings(self) -> Iterator[VerityCase]:
        """The cases that end it."""

    def side_by_side(self, scene: VerityScene) -> AbstractContextManager[dict[str, str]]:
        """Devices to be measured beside each other, by way; empty if there are none."""


def subjects(profile: Profile) -> list[VeritySubject]:
    """What there is to test on a profile.  Raises ProfileError when that is nothing."""
    disks = find_disks(profile)
    found: list[VeritySubject] = []
    if pair := targets(profile.layers, disks):
        found.append(Trees(*pair))
    for layer in profile.layers:
        if isinstance(layer, DmIntegrity) and layer.over in disks:
            over = (one for one in profile.layers if isinstance(one, DmCrypt))
            crypt = next((one for one in over if one.over == layer.name), None)
            found.append(Sectors(layer, disks[layer.over], crypt))
            break
    if not found:
        raise ProfileError(
            f"profile {profile.name}: the suite verity finds nothing to test",
            hint="it wants dm-verity on disks, without fec and with it, or dm-integrity on a disk: "
            "see dm-verity and dm-crypt-integrity",
        )
    return found


def run(asked: Assignment[VerityOptions], watcher: Watcher[Case]) -> Results:
    """Boot, carry out the cases and take the guest down.

    What the lab itself fails at ends the run and stands in the outcome; only errors from before the
    boot are raised (UsageError, ProfileError, HostError).
    """
    profile, options = asked.profile, asked.options
    tested = subjects(profile)
    bare = _bare(profile)
    platform = Platform.find(bare, watcher.progress)
    measured: list[dict[str, Any]] = []
    chosen = _chosen(tested, options, measured)
    with recorded(
        Results, NAME, profile, platform, options.document(), selected=len(chosen), latency=measured
    ) as (record, outcome):  # fmt: skip
        ledger = Ledger(record, watcher, cases=outcome.cases)
        watcher.on_total(len(chosen))
        with RunGuest(record, bare, platform, watcher.progress) as own:
            bench = _VerityBench(own, options.plant)
            own.describe(outcome)
            outcome.speed = own.speed.slower
            for case in chosen:
                ledger.begin(case.section, case.name)
                own.works_for(case.title, Circumstance.FAULT)
                ledger.add(bench.case(case))
                own.works_for("", Circumstance.OUTSIDE)
    return outcome


def _bare(profile: Profile) -> Profile:
    """What is booted: the disks alone, the suite makes its layers itself."""
    guest = profile.guest.model_copy(
        update={"kernel_args": (*profile.guest.kernel_args, NO_RETRIES)}
    )
    return profile.model_copy(update={"layers": (), "guest": guest})


def _chosen(
    tested: list[VeritySubject], options: VerityOptions, measured: list[dict[str, Any]]
) -> list[VerityCase]:
    """The cases that were asked for; those that end the guest come last.  Raises UsageError."""
    cases: list[VerityCase] = []
    for subject in tested:
        cases += subject.cases()
        if isinstance(subject, Trees):
            cases += refusals.cases(subject)
        if not isinstance(subject, Sectors) or subject.crypt:
            cases.append(VerityCase("latency", _measuring(subject, options.seconds, measured)))
    for subject in tested:
        cases += subject.endings()
    chosen = [case for case in cases if options.selects(case.title)]
    if not chosen:
        raise UsageError(
            f"verity: no case is called {', '.join(options.only)}",
            hint="there are: " + ", ".join(case.title for case in cases),
        )
    return chosen


def _measuring(
    subject: VeritySubject, seconds: float, measured: list[dict[str, Any]]
) -> Callable[[VerityScene], list[str]]:
    def work(scene: VerityScene) -> list[str]:
        with subject.side_by_side(scene) as nodes:
            found = latency.measure(scene, nodes, seconds)
        measured.extend(one.document() for one in found)
        return [
            f"{one.way}: median {one.median_us:.0f} us, p99 {one.p99_us:.0f} us, {one.reads} reads"
            for one in found
        ]

    return work


class _VerityBench:
    """Where cases are carried out, in a guest that some of them end or spoil."""

    def __init__(self, own: RunGuest, plant: str) -> None:
        self._own = own
        self._scene = VerityScene(own.guest, self._checker(), plant)

    def _checker(self) -> Checker:
        """The checker of this boot."""
        self._own.listen()
        return Checker(self._own.connect(), _DEADLINE)

    def case(self, case: VerityCase) -> Case:
        """Carry out a case, and judge it."""
        scene = self._scene
        if scene.lost:
            self._own.lose()
            scene.checker, scene.lost = self._checker(), False
        # What is heard now is of the cases before.
        for _ in self._own.heard():
            pass
        start = time.monotonic()
        scene.checker.said.clear()
        scene.checker.heard.clear()
        status, reason, lines, console = self._judged(case)
        seconds = round(time.monotonic() - start, 3)
        directory = "/".join(filter(None, ["cases", case.section, case.name]))
        evidence = {"log": "\n".join([*scene.checker.said, ""])}
        if console:
            evidence["console"] = console
        for name, text in evidence.items():
            self._own.run.save(f"{directory}/{name}", text.encode())
        files = tuple(sorted(f"{directory}/{name}" for name in evidence))
        return Case(
            case.name, status, seconds, reason, case.section, files=files,
            output="\n".join([reason, *lines]),
        )  # fmt: skip

    def _judged(self, case: VerityCase) -> tuple[CaseStatus, str, list[str], str]:
        """What a case comes to: its status, why, what there is to say of it, and what a guest that
        is lost says itself."""
        lines: list[str] = []
        try:
            status, reason = self._verdict(case, lines)
        except GuestLost as lost:
            self._scene.lost = True
            checker = self._scene.checker
            unheard = [text for text in lost.messages if text not in checker.heard]
            checker.said += [f"kernel: {text}" for text in unheard]
            words = self._own.last_words(lost, titled(case.section, case.name))
            return lost.status, lost.reason, lines, words
        return status, reason, lines, ""

    def _verdict(self, case: VerityCase, lines: list[str]) -> tuple[CaseStatus, str]:
        """Whether all is as it must be.  Raises GuestLost when the guest cannot go on."""
        status, reason = CaseStatus.PASS, ""
        checker = self._scene.checker
        lost = None
        try:
            lines += case.work(self._scene)
        except CheckFailure as wrong:
            status, reason = CaseStatus.FAIL, str(wrong)
        except CaseDeclined as declined:
            status, reason = CaseStatus.NOTRUN, str(declined)
        except CheckerTimeout as overdue:
            lost = self._own.overdue(str(overdue))
        except GuestError as error:
            lost = self._own.gone(error)
        if trouble := next((text for text in checker.heard if fatal(text)), ""):
            raise GuestLost(CaseStatus.CRASHED, trouble, tuple(self._own.aftermath()))
        if lost:
            raise lost
        return status, reason
