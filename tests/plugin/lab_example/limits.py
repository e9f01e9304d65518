# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of queue-limits: a case for each disk."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.errors import UsageError
from lab.guest.boot import Platform
from lab.profile.disk import disks
from lab.results.cases import Case, CaseStatus
from lab.suites.arguments import Parser
from lab.suites.guest import RunGuest
from lab.suites.ledger import Ledger
from lab.suites.outcome import Results
from lab.suites.record import recorded
from lab.suites.request import Assignment
from lab.suites.watch import Watcher


@dataclass(frozen=True)
class LimitsOptions:
    """What was asked for: disks by name, none for all of the profile."""

    disks: tuple[str, ...]

    def document(self) -> Mapping[str, Any]:
        """Its JSON."""
        return {"disks": list(self.disks)}


def parse(words: Sequence[str]) -> LimitsOptions:
    """Read the suite's arguments."""
    parser = Parser("queue-limits")
    parser.add_argument("disks", nargs="*", metavar="DISK", help="disks to look at [all]")
    return LimitsOptions(tuple(parser.parse_args(words).disks))


def run(asked: Assignment[LimitsOptions], watcher: Watcher[Case]) -> Results:
    """Boot a guest, and look at each disk in it."""
    there = [disk.ref for disk in disks(asked.profile)]
    for name in asked.options.disks:
        if name not in there:
            raise UsageError(f"queue-limits: no disk {name}", hint=f"there are: {', '.join(there)}")
    chosen = asked.options.disks or there
    platform = Platform.find(asked.profile, watcher.progress)
    with recorded(
        Results, "queue-limits", asked.profile, platform, asked.options.document(),
        selected=len(chosen),
    ) as (record, results):  # fmt: skip
        ledger = Ledger(record, watcher, cases=results.cases)
        watcher.on_total(len(chosen))
        with RunGuest(record, asked.profile, platform, watcher.progress) as guest:
            guest.listen()
            guest.describe(results)
            for name in chosen:
                ledger.begin("", name)
                ledger.add(case(guest, name))
    return results


def case(guest: RunGuest, disk: str) -> Case:
    """Whether the limits of a disk fit together."""
    start = time.monotonic()
    said = guest.connect().run(["queue-limits", disk], deadline=60).stdout.strip()
    status = CaseStatus.FAIL if said else CaseStatus.PASS
    return Case(disk, status, time.monotonic() - start, said.replace("\n", "; "))
