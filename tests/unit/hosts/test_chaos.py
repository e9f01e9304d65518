# SPDX-License-Identifier: GPL-2.0-or-later
"""A night while workers, their runs, their network, their disks and the database fail: nothing is
lost, doubled or left behind, and what comes out is what one host alone comes to.

LAB_CHAOS says how many faults; without it there is one of each kind.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from lab.farm import job
from lab.farm.hosts.deferral import defer
from lab.farm.night import carry_out
from lab.farm.outcome import document, outcome
from lab.farm.plan import Plan
from lab.host.process import Process
from lab.results.store.database import session
from lab.results.store.schema import CaseRow, NightRow, RunRow
from tests.postgres import Cluster
from tests.unit.hosts.cable import Cable
from tests.unit.hosts.conftest import plan_in
from tests.unit.hosts.crew import LEASE, Hand, until_over

FAULTS = int(os.environ.get("LAB_CHAOS", "0"))
SEED = int(os.environ.get("LAB_CHAOS_SEED", random.randrange(2**32)))
# Read here: a test begins without any variable of the lab's.

RUN = 3.0 if FAULTS else 1.2
"""Seconds that a run lasts: the night is to outlast the faults."""


BEGINS = "at a time"
"""What a worker says when it has been accepted."""


@dataclass
class Theatre:
    """All that can fail."""

    server: Cluster
    hands: list[Hand]
    cables: dict[str, Cable]
    drawn: random.Random

    def someone(self) -> Hand:
        """A worker."""
        return self.drawn.choice(self.hands)

    def wait_for_runs(self) -> None:
        """Until there is something to lose."""
        end = time.monotonic() + 120
        while len(runs_at_work(self.hands)) < 3:
            assert time.monotonic() < end, "\n".join(hand.said for hand in self.hands)
            time.sleep(0.05)

    def a_worker_is_killed(self) -> None:
        """With SIGKILL; it is started again some time later."""
        hand = self.someone()
        assert hand.process is not None
        hand.send(signal.SIGKILL)
        hand.process.wait()
        time.sleep(self.drawn.uniform(0, 1.5 * LEASE))
        before = hand.said.count(BEGINS)
        hand.start(seconds=RUN)
        # One that finds no database at its start ends, and says so; later it waits for it.
        end = time.monotonic() + 120
        while hand.said.count(BEGINS) == before:
            assert time.monotonic() < end, hand.said
            time.sleep(0.05)

    def a_worker_hangs(self) -> None:
        """For longer than its lease, and then goes on as if nothing had been."""
        hand = self.someone()
        hand.send(signal.SIGSTOP)
        time.sleep(1.5 * LEASE)
        hand.send(signal.SIGCONT)

    def a_run_is_killed(self) -> None:
        """The process of one, wherever."""
        if pids := runs_at_work(self.hands):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.drawn.choice(pids), signal.SIGKILL)

    def the_database_is_killed(self) -> None:
        """It is started again some time later."""
        self.server.kill()
        time.sleep(self.drawn.uniform(0, 1.5 * LEASE))
        self.server.start()

    def the_network_is_cut(self, leases: float) -> None:
        """Between a worker and the database."""
        cable = self.cables[self.someone().name]
        cable.cut()
        time.sleep(leases * LEASE)
        cable.mend()

    def a_disk_is_full(self) -> None:
        """A worker's, for some time."""
        hand = self.someone()
        hand.disk_full(True)
        time.sleep(self.drawn.uniform(0.5, LEASE))
        hand.disk_full(False)

    def another_version_comes(self) -> None:
        """A worker whose lab is none that the night is of."""
        stranger = Hand(self.hands[0].state.parent, self.hands[0].store, "stranger")
        stranger.start("9.9")
        assert stranger.process is not None
        # The database may be slow to come back from the fault before.
        assert stranger.process.wait(60) == 3
        assert "this lab is 9.9, and" in stranger.said

    def faults(self) -> list[Callable[[], None]]:
        """All kinds."""
        return [
            self.a_worker_is_killed,
            self.the_database_is_killed,
            lambda: self.the_network_is_cut(0.5),
            lambda: self.the_network_is_cut(2.0),
            self.a_run_is_killed,
            self.another_version_comes,
            self.a_worker_hangs,
            self.a_disk_is_full,
        ]


def runs_at_work(hands: list[Hand]) -> list[int]:
    """The processes of runs that workers have begun, and that are alive."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            state = (path / "environ").read_bytes()
            if (
                len(words) > 1
                and words[1].endswith(b"/short_run.py")
                and any(f"XDG_STATE_HOME={hand.state}\0".encode() in state for hand in hands)
            ):
                found.append(int(path.name))
    return found


@contextmanager
def theatre(server: Cluster, store: str, place: Path, seed: int) -> Iterator[Theatre]:
    """Three workers, each with a cable and a state directory of its own."""
    names = ("a", "b", "c")
    cables = {name: Cable(server.port) for name in names}
    hands = [
        Hand(place, store.replace(f":{server.port}/", f":{cables[name].port}/"), name)
        for name in names
    ]
    try:
        for hand in hands:
            hand.start(seconds=RUN)
        yield Theatre(server, hands, cables, random.Random(seed))
    finally:
        for hand in hands:
            if hand.process is not None and hand.process.poll() is None:
                hand.end()
        for cable in cables.values():
            cable.close()


def alone(plan: Plan, place: Path) -> dict[str, Any]:
    """The same plan, carried out by one host with SQLite, as a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(place))
        patch.delenv("LAB_STORE")
        patch.setenv("SHORT_RUN", "0")
        patch.setattr(job, "LAB", (sys.executable, str(Path(__file__).with_name("short_run.py"))))
        patch.setattr("lab.farm.night.ensure_kernel", lambda *_: None)
        with session() as store:
            night = carry_out(store, plan, lambda _: None, lambda *_: None)
            return document(night, outcome(store, night))


def told_alike(told: dict[str, Any]) -> dict[str, Any]:
    """A night's document but for who did it, when, and how long it took."""
    jobs = [
        {key: value for key, value in job.items()
         if key not in ("host", "attempts", "lost", "seconds", "run")}
        for job in told["jobs"]
    ]  # fmt: skip
    kernels = {
        name: {
            "cases": one["cases"], "rules": one["rules"],
            "changes": [{**change, "hosts": None} for change in one["changes"]],
        }
        for name, one in told["kernels"].items()
    }  # fmt: skip
    return {"plan": told["plan"], "jobs": jobs, "kernels": kernels}


def test_nothing_is_lost_doubled_or_left_behind(
    server: Cluster, store: str, tmp_path: Path
) -> None:
    print(f"LAB_CHAOS={FAULTS} LAB_CHAOS_SEED={SEED}")
    plan = plan_in(tmp_path, repeat=100 if FAULTS else 45)
    with session() as opened:
        night = defer(opened, plan, print).id
    with theatre(server, store, tmp_path, SEED) as stage:
        for fault in _drawn(stage, FAULTS):
            stage.wait_for_runs()
            time.sleep(stage.drawn.uniform(0, RUN))
            fault()
        until_over(night, stage.hands, 300 + 20 * FAULTS)
        for hand in stage.hands:
            assert hand.end() == 0, hand.said
        assert runs_at_work(stage.hands) == []
    with session() as opened:
        row = opened.get_one(NightRow, night)
        told = document(row, outcome(opened, row))
        runs = [job["run"] for job in told["jobs"]]
        assert {job["state"] for job in told["jobs"]} == {"done"}, told["jobs"]
        assert len(set(runs)) == len(runs)
        assert set(opened.scalars(select(RunRow.id))) == set(runs)
        assert opened.scalar(select(func.count()).select_from(CaseRow)) == len(runs)
    assert told_alike(told) == told_alike(alone(plan, tmp_path / "alone"))
    begun = sum(job["attempts"] for job in told["jobs"])
    lost = sum(len(job["lost"]) for job in told["jobs"])
    print(f"{len(runs)} runs, begun {begun} times; {lost} times a worker was lost with one")


def _drawn(stage: Theatre, count: int) -> list[Callable[[], None]]:
    kinds = stage.faults()
    if not count:
        return kinds[:6]
    several = kinds * (1 + count // len(kinds))
    stage.drawn.shuffle(several)
    return several[:count]


def test_no_process_is_left_of_a_worker_that_was_killed(store: str, tmp_path: Path) -> None:
    with session() as opened:
        defer(opened, plan_in(tmp_path), print)
    hand = Hand(tmp_path, store, "a")
    hand.start(seconds=60)
    try:
        deadline = time.monotonic() + 60
        while not (pids := runs_at_work([hand])):
            assert time.monotonic() < deadline, hand.said
            time.sleep(0.1)
        processes = [Process.of(pid) for pid in pids]
        hand.send(signal.SIGKILL)
        while any(process and process.alive() for process in processes):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            hand.end()
