# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands without guests, killed before any step that touches the world, or with that step
failing: the next command works, what was finished is there, and nothing is left.

A handful of faults is drawn for each command; LAB_KILLS_EVERYWHERE=N draws N for each, or makes all
where there are fewer, and LAB_KILLS_PART is which N those are.
"""

import json
import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import lab.farm.outcome
import lab.results.site.write
import lab.suites.copy_faults.bundle  # noqa: F401  what commands load is loaded once
from lab.results.store.database import session
from lab.results.store.feed import feed
from tests.kills import ERRORS, PART, Ending, at, command, counted, files, processes_in, why_not
from tests.unit.builders import until
from tests.unit.suites.copy_faults.test_bundle import recorded
from tests.unit.test_store import judged, write_run

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

DRAWN = int(os.environ.get("LAB_KILLS_EVERYWHERE", "2"))
"""Kills for each command, and as many failed steps."""

FLOWS = {
    "ls": ["ls"],
    "list": ["results", "list", "--json"],
    "show": ["results", "show", "RUN"],
    "html": ["results", "html"],
    "junit": ["results", "export", "RUN", "--to", "junit"],
    "bundle": ["results", "bundle", "RUN", "b.tar.gz"],
}

MADE = ("b.tar.gz", ".local/state/lab/site/", ".local/state/lab/store.sqlite", ".lock",
        ".local/state/lab/unforeseen.txt", "lock")  # fmt: skip
"""What commands may leave: what they make, and the files that are locked."""


class Ground:
    """A home directory with a run in the store and one that is not, and copies of it."""

    def __init__(self, place: Path, home: Path, run: str, late: str) -> None:
        self.place = place
        self.home = home
        self.run = run
        self.late = late

    def fresh(self) -> Path:
        """A copy, for one fault."""
        copy = self.place / f"copy-{os.getpid()}" / "home"
        shutil.rmtree(copy.parent, ignore_errors=True)
        copy.parent.mkdir()
        shutil.copytree(self.home, copy)
        return copy

    def argv(self, flow: str) -> list[str]:
        return [self.run if word == "RUN" else word for word in FLOWS[flow]]


@pytest.fixture
def ground(home: Path, tmp_path: Path) -> Iterator[Ground]:
    run = recorded().id
    with session() as store:
        feed(store)
    late = write_run(1, [judged("write:1 eio")])
    yield Ground(tmp_path, home, run, late)


def check(ground: Ground, home: Path, before: dict[str, bytes], what: str) -> None:
    """One ordinary command works, knows all runs that were finished, and nothing is left."""
    until(lambda: not processes_in(home))
    found = command(["results", "list", "--json"], home)
    assert found.status == 0, (what, found)
    runs = {run["id"] if "id" in run else run["run"] for run in json.loads(found.out)}
    assert runs == {ground.run, ground.late}, (what, runs)
    after = files(home)
    lost = [path for path in before if path not in after]
    assert lost == [], what
    changed = [
        path
        for path, content in before.items()
        if after[path] != content and not any(each in path for each in MADE)
    ]
    assert changed == [], what
    left = [path for path in after if path not in before and not any(each in path for each in MADE)]
    assert left == [], (what, left)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_command_killed_anywhere_leaves_nothing_and_loses_nothing(
    flow: str, ground: Ground
) -> None:
    draw = random.Random(f"{flow} killed {PART}")
    calls = counted(ground.argv(flow), ground.fresh())
    assert calls
    numbers = range(1, len(calls) + 1)
    for number in numbers if len(calls) <= DRAWN else sorted(draw.sample(numbers, DRAWN)):
        copy = ground.fresh()
        before = dict(files(copy))
        name, when = at(calls, number)
        ended = command(ground.argv(flow), copy, f"{name}:signal=SIGKILL:{when}")
        # The last steps may come in another order, or not at all.
        assert ended.status in (0, 137), ended
        check(ground, copy, before, f"{flow} killed before {name}, step {number} of {len(calls)}")


@pytest.mark.parametrize("flow", FLOWS)
def test_a_step_that_fails_is_told_and_loses_nothing(flow: str, ground: Ground) -> None:
    draw = random.Random(f"{flow} failed {PART}")
    calls = counted(ground.argv(flow), ground.fresh())
    every = [(number, error) for number in range(1, len(calls) + 1) for error in ERRORS]
    for number, error in every if len(every) <= DRAWN else sorted(draw.sample(every, DRAWN)):
        copy = ground.fresh()
        before = dict(files(copy))
        name, when = at(calls, number)
        ended = command(ground.argv(flow), copy, f"{name}:error={error}:{when}")
        what = f"{flow}: {name}, step {number} of {len(calls)}, failed with {error}"
        assert ended.status in (0, 2, 3, 141), (what, ended)
        assert "Traceback" not in ended.err, (what, ended.err)
        assert "bug of the lab" not in ended.err, (what, ended.err)
        check(ground, copy, before, what)


@pytest.mark.skipif(DRAWN < 5, reason="LAB_KILLS_EVERYWHERE is not set")
@pytest.mark.parametrize("flow", FLOWS)
def test_a_command_that_stands_still_anywhere_goes_on_and_others_work(
    flow: str, ground: Ground
) -> None:
    """They stand still beside each other, each in a home directory of its own."""
    draw = random.Random(f"{flow} stopped {PART}")
    calls = counted(ground.argv(flow), ground.fresh())
    numbers = range(1, len(calls) + 1)
    drawn = numbers if len(calls) <= DRAWN else sorted(draw.sample(numbers, DRAWN))
    with ProcessPoolExecutor(len(drawn), get_context("fork")) as pool:
        running = [pool.submit(stopped, ground, flow, calls, number) for number in drawn]
        stops = sum(each.result() for each in running)
    print(f"{flow}: {stops} stops", flush=True)
    assert stops >= len(drawn) / 2


def stopped(ground: Ground, flow: str, calls: list[str], number: int) -> bool:
    """Have a command stand still before one of its steps; whether it came to that."""
    copy = ground.fresh()
    before = dict(files(copy))
    name, when = at(calls, number)
    what = f"{flow} stopped before {name}, step {number} of {len(calls)}"
    others: list[Ending] = []
    ended = command(
        ground.argv(flow), copy, f"{name}:signal=SIGSTOP:{when}",
        meanwhile=lambda: others.append(command(["results", "list", "--json"], copy)),
    )  # fmt: skip
    for other in others:
        # It waits for the store for so long, and says who has it.
        assert other.status in (0, 3), (what, other)
        assert "Traceback" not in other.err, (what, other)
        assert "bug of the lab" not in other.err, (what, other)
    assert ended.status == 0, (what, ended)
    check(ground, copy, before, what)
    return bool(others)
