# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of an external suite: guests, lanes, and what they come to."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.guest.boot import Platform
from lab.guest.guest import Guest
from lab.guest.session import Session
from lab.profile.models import Profile
from lab.results.cases import Case, CaseStatus
from lab.results.run import Run
from lab.suites.guest import RunGuest, attached
from lab.suites.ledger import Ledger
from lab.suites.outcome import Results
from lab.suites.record import recorded
from lab.suites.upstream import shards
from lab.suites.upstream.driver import SERIAL, Batch, External
from lab.suites.upstream.known import KnownFailure, applying
from lab.suites.upstream.lane import CaseFaults, EarlyEnd, Lane
from lab.suites.upstream.options import DrivingOptions
from lab.suites.upstream.tree import TreeLayout, pack_tree
from lab.suites.upstream.watchdog import Watchdog
from lab.suites.watch import Watcher
from lab.vm.graph import drives

Select = Callable[[Session, str], Sequence[str]]
"""The cases of a section, as the suite in the guest names them."""

_UP = "--on is for a guest that an earlier run left up with --keep; --set what was set for that"

LeaveOut = Callable[[Session, str, Sequence[str]], Mapping[str, str]]
"""Which of these cases of a section are not to be carried out in this guest, and why."""


def nothing(session: Session, section: str, names: Sequence[str]) -> Mapping[str, str]:
    """None of them."""
    return {}


@dataclass(frozen=True)
class CampaignPlan:
    """An external suite on a profile.

    `fs` has the sections, and the file system of each.  `asked` and `configs` are for the run's
    JSON.
    """

    name: str
    profile: Profile
    suite: External
    layout: TreeLayout
    tree: Path
    select: Select
    fs: Mapping[str, str]
    configs: Mapping[str, str]
    asked: Mapping[str, Any]
    known: Sequence[KnownFailure]
    driving: DrivingOptions
    on: str = ""
    """A guest that an earlier run left up."""
    leave_out: LeaveOut = nothing
    faulted: Callable[[], CaseFaults] | None = None
    """Makes what is done to a guest meanwhile, if anything is."""


def carry_out(plan: CampaignPlan, watcher: Watcher[Case]) -> Results:
    """Boot, carry out the cases and take the guests down.

    What the lab itself fails at ends the run and stands in the outcome, with all cases until then;
    only errors from before the first boot are raised (UsageError, ProfileError, HostError).
    """
    on = _left_up(plan)
    platform = Platform.find(plan.profile, watcher.progress)
    packed = pack_tree(plan.layout, plan.tree, platform.image, watcher.progress)
    platform = replace(platform, trees=((SERIAL, packed),))
    if on:
        _check_tree(on, packed)
    with recorded(
        Results,
        plan.name,
        plan.profile,
        platform,
        plan.asked,
        sections=plan.configs,
        tree=str(plan.tree),
    ) as (record, outcome):
        ledger = Ledger(record, watcher, cases=outcome.cases)
        _Campaign(plan, platform, record, ledger, watcher, outcome, on).run()
    return outcome


@dataclass
class _Campaign:
    plan: CampaignPlan
    platform: Platform
    record: Run
    ledger: Ledger
    watcher: Watcher[Case]
    outcome: Results
    on: Guest | None
    """The guest that was up before."""

    def run(self) -> None:
        """Choose the cases in a first guest, and share them out."""
        plan = self.plan
        seen = shards.seen(plan.name, plan.profile.name, self.platform.accelerator.name)
        watchdog = Watchdog(plan.driving.deadline, seen)
        stop = threading.Event()
        with self._lane(1, watchdog, stop) as first:
            names = {section: self._chosen(first.session(), section) for section in plan.fs}
            first.own.describe(self.outcome)
            self.outcome.speed = watchdog.speed.slower
            self.ledger.known = self._known(first.session(), names)
            batches = [
                Batch(section, names[section], attempt)
                for attempt in range(1, plan.driving.loop + 1)
                for section in plan.fs
                if names[section]
            ]
            of_each = 2 if plan.faulted else 1
            carried_out = sum(len(batch.names) for batch in batches)
            self.outcome.selected = len(self.ledger.cases) + of_each * carried_out
            self.watcher.on_total(of_each * carried_out)
            shares = shards.share(batches, plan.driving.shards, seen)
            if plan.driving.shards == 1:
                first.work(shares[0])
            else:
                self._work_side_by_side(first, shares, watchdog, stop)

    def _chosen(self, session: Session, section: str) -> tuple[str, ...]:
        """The cases of a section; those that are left out have their result with that."""
        names = self.plan.select(session, section)
        left_out = self.plan.leave_out(session, section, names)
        for name, why in left_out.items():
            self.ledger.add(Case(name, CaseStatus.NOTRUN, 0, why, section))
        return tuple(name for name in names if name not in left_out)

    def _known(self, session: Session, names: Mapping[str, Sequence[str]]) -> dict[str, str]:
        def tried(argv: Sequence[str]) -> bool:
            return session.run(argv, deadline=60, check=False).status == 0

        return applying(self.plan.known, names, self.plan.fs, tried)

    @contextmanager
    def _lane(self, number: int, watchdog: Watchdog, stop: threading.Event) -> Iterator[Lane]:
        """A lane with a guest, which is gone at the end unless it is to be kept, or was up."""
        plan = self.plan
        on = self.on if number == 1 else None
        with RunGuest(
            self.record, plan.profile, self.platform, self.watcher.progress,
            on=on, number=number, speed=watchdog.speed,
        ) as own:  # fmt: skip
            lane = Lane(
                own, plan.suite, self.ledger, watchdog, self.watcher.progress, stop,
                faulted=plan.faulted and plan.faulted(),
            )  # fmt: skip
            yield lane
            if number == 1 and (plan.driving.keep or self.on):
                lane.session()  # the last case may have cost the guest
                self.outcome.guest = own.keep()

    def _work_side_by_side(
        self, first: Lane, shares: Sequence[Sequence[Batch]], watchdog: Watchdog,
        stop: threading.Event,
    ) -> None:  # fmt: skip
        """Work in a thread for each lane; when one fails, all end."""

        def work(number: int) -> None:
            with self._lane(number, watchdog, stop) as lane:
                lane.work(shares[number - 1])

        with ThreadPoolExecutor(len(shares), "lane") as pool:
            lanes = [pool.submit(first.work, shares[0])]
            lanes += [pool.submit(work, number) for number in range(2, len(shares) + 1)]
            try:
                done, _ = wait(lanes, return_when=FIRST_EXCEPTION)
            finally:
                # A failure, or Ctrl-C: the others leave at their next look.
                stop.set()
        for lane in done:
            error = lane.exception()
            if error and not isinstance(error, EarlyEnd):
                raise error


def _left_up(plan: CampaignPlan) -> Guest | None:
    """The guest that an earlier run of the same profile left up, if it is to be used.  Raises
    UsageError."""
    if not plan.on:
        return None
    guest = attached(plan.on, plan.profile, plan.name, _UP)
    for drive in drives(guest.record.profile):
        # A run that was killed may have left a request that is still to fail.
        guest.machine.exchange_fault_layer(drive)
    return guest


def _check_tree(guest: Guest, packed: Path) -> None:
    """Raise UsageError unless the guest has that tree."""
    if packed not in guest.record.trees:
        raise UsageError(
            f"guest {guest.record.name} has another tree, or this one before it was changed",
            hint="a run without --on boots a guest that has it",
        )
