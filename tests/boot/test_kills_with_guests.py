# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands with guests, killed before any step that touches the world, stopped there for longer
than deadlines, or with that step failing: the next command works and sweeps what was left, what was
finished is there, and no fault of the lab is told as a rule that was violated.

LAB_KILLS_WITH_GUESTS=N draws N faults for each command, and LAB_KILLS_PART is which N those are.
"""

import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.boot.conftest import make_cache
from tests.kills import (
    ERRORS,
    PART,
    Ending,
    command,
    files,
    processes_in,
    threads,
    why_not,
)

DRAWN = int(os.environ.get("LAB_KILLS_WITH_GUESTS", "0"))
"""Faults for each command."""

pytestmark = [
    pytest.mark.skipif(not DRAWN, reason="LAB_KILLS_WITH_GUESTS is not set"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

DEADLINE = 900.0
"""Seconds for a command with guests on a busy host that traces it."""

GUEST = "g"
CELL = ("--ranges", "1", "--points", "write:1", "--actions")
PLAN = f"""\
kernels: [{{kernel: debian, baseline: true}}]
profiles: [nvme-copy]
suites: [{{suite: copy-faults, args: {[*CELL, "eio"]}}}]
"""
TREE = str(ROOT / "tests/fixtures/fstests")

FLOWS = {
    "up": ["up", "nvme-copy", "--name", GUEST],
    "copy-faults": ["run", "nvme-copy", "copy-faults", "--", *CELL, "eio,kill"],
    "fstests": ["run", "nvme-copy", "fstests", "--tree", TREE, "--", "--image", "trixie",
                "generic/001", "generic/008"],
    "nightly": ["nightly", "plan.yaml"],
    "replay": ["replay", "RUN:1"],
    "down": ["down", GUEST],
}  # fmt: skip

WAYS = (("signal=SIGKILL",), ("signal=SIGSTOP",), tuple(f"error={name}" for name in ERRORS))
"""Each of them in its turn, for one command after the other."""

GROWS = ("store.sqlite", "/runs/", "/failed/", "/nights/", "/site/", "/ssh/config", "/trees/")
"""Where a command may leave files in the state directory: results, and why something failed."""


@dataclass(frozen=True)
class Ground:
    """A home directory that has built what guests begin from, and a finished run."""

    home: Path
    kept: Path
    """A copy of its state, as it was before any fault."""

    @property
    def state(self) -> Path:
        return self.home / ".local/state/lab"

    @cached_property
    def run(self) -> str:
        (found,) = (self.kept / "runs").iterdir()
        return found.name

    def fresh(self) -> None:
        """Put the state back to what it was."""
        shutil.rmtree(self.state)
        shutil.copytree(self.kept, self.state)

    def argv(self, flow: str) -> list[str]:
        return [word.replace("RUN", self.run) for word in FLOWS[flow]]

    def __call__(self, *words: str, inject: str = "") -> Ending:
        return command(words, self.home, inject, deadline=DEADLINE)

    def well(self, *words: str) -> str:
        """What a command says that has nothing in its way."""
        found = self(*words)
        assert found.status == 0, (words, found)
        return found.out

    def idle(self) -> None:
        """Wait until whatever works in the background has ended: what makes a checkpoint, the run
        of a night that was killed."""
        end = time.monotonic() + DEADLINE
        while busy := [each for each in processes_in(self.home) if sys.executable in each]:
            assert time.monotonic() < end, busy
            time.sleep(0.2)

    def guests(self) -> list[str]:
        path = self.state / "guests"
        return [entry.name for entry in path.iterdir()] if path.exists() else []


LOADED = ("lab.farm.night", "lab.guest.restore", "lab.results.site.write",
          "lab.suites.copy_faults.replay", "lab.suites.fstests.run")  # fmt: skip
"""What commands load is loaded once."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    for name in LOADED:
        import_module(name)
    place = tmp_path_factory.mktemp("killed")
    home = place / "home"
    make_cache(home / ".cache")
    (home / "plan.yaml").write_text(PLAN)
    config = home / ".config/lab"
    config.mkdir(parents=True)
    (config / "config.yaml").write_text("dumps: {take: false}\n")
    found = Ground(home, place / "kept")
    found.well("up", "nvme-copy", "--name", GUEST)
    found.idle()
    found.well("down", GUEST)
    found.well("run", "nvme-copy", "copy-faults", "--", *CELL, "eio")
    found.idle()
    shutil.copytree(found.state, found.kept)
    yield found
    assert processes_in(home) == []


@pytest.mark.parametrize("flow", FLOWS)
def test_no_fault_of_a_command_with_guests_leaves_or_loses_anything(
    flow: str, ground: Ground
) -> None:
    draw = random.Random(f"{flow} {PART}")
    prepare(ground, flow)
    steps = distinct(threads(ground.argv(flow), ground.home, DEADLINE))
    check(ground, flow, "nothing")
    turn = list(FLOWS).index(flow) + PART
    for index in range(turn, turn + DRAWN):
        name = draw.choice(sorted(steps))
        number, way = draw.randint(1, steps[name]), draw.choice(WAYS[index % len(WAYS)])
        prepare(ground, flow)
        began = time.monotonic()
        ended = ground(*ground.argv(flow), inject=f"{name}:{way}:when={number}")
        what = f"{flow}: {way} at {name} {number} of {steps[name]}"
        seconds = time.monotonic() - began
        print(f"{what}: status {ended.status} after {seconds:.0f} s", flush=True)
        # The lab failed, or not: it never says that what it tests did.
        assert ended.status in ((0, 2, 3, 137) if "KILL" in way else (0, 2, 3, 141)), (what, ended)
        assert "Traceback" not in ended.err, (what, ended.err)
        assert "bug of the lab" not in ended.err, (what, ended.err)
        check(ground, flow, what)


def prepare(ground: Ground, flow: str) -> None:
    ground.fresh()
    if flow == "down":
        ground.well("up", "nvme-copy", "--name", GUEST)


def distinct(threads: dict[str, list[str]]) -> dict[str, int]:
    """How often each call is made in the thread that makes most of them: whichever thread comes
    there first meets the fault."""
    found: dict[str, int] = {}
    for calls in threads.values():
        for name in set(calls):
            found[name] = max(found.get(name, 0), calls.count(name))
    return found


def check(ground: Ground, flow: str, what: str) -> None:
    """One ordinary command works and sweeps; nothing is lost, and nothing left but a guest that is
    up and can be used."""
    ground.idle()
    listed = {each["name"]: each["state"] for each in json.loads(ground.well("ls", "--json"))}
    ground.idle()
    assert sorted(ground.guests()) == sorted(listed), what
    if listed:
        assert flow in ("up", "down"), (what, listed)
        if listed == {GUEST: "up"}:
            ground.well("ssh", GUEST, "--", "true")
        ground.well("down", GUEST)
    assert processes_in(ground.home) == [], what
    assert ground.guests() == [], what
    check_results(ground, what)
    check_files(ground, what)
    check_host(ground, what)


def check_results(ground: Ground, what: str) -> None:
    """Every run that has ended is known, and none tells of a rule that was violated."""
    found = json.loads(ground.well("results", "list", "--json"))
    known = {run["run"]: run for run in found}
    assert ground.run in known, what
    for path in (ground.state / "runs").glob("*/run.json"):
        assert path.parent.name in known, what
        document: dict[str, Any] = json.loads(path.read_text())
        assert not document.get("error") or document["run"] != ground.run, what
        for case in document["cases"]:
            assert case.get("verdict", "holds") in ("holds", "not exercised"), (what, case)
            assert case.get("status", "pass") in ("pass", "notrun"), (what, case)


def check_files(ground: Ground, what: str) -> None:
    """What was there is there as it was, and nothing else but where results go."""
    before, after = files(ground.kept), files(ground.state)
    for path, content in before.items():
        assert path in after, (what, path)
        assert after[path] == content or any(each in f"/{path}" for each in GROWS), (what, path)
    left = [
        path
        for path in after
        if path not in before and not any(each in f"/{path}" for each in GROWS)
    ]
    assert [path for path in left if not path.endswith("lock")] == [], what
    partial = [path for path in after if path.endswith((".new", ".part", "-journal"))]
    assert partial == [], what
    hidden = [path for path in (ground.home / ".cache/lab").rglob(".*") if "lock" not in path.name]
    assert hidden == [], what


def check_host(ground: Ground, what: str) -> None:
    """No mount and no loop device leads into the home directory."""
    assert str(ground.home) not in Path("/proc/mounts").read_text(), what
    backing = Path("/sys/block").glob("loop*/loop/backing_file")
    assert not [path for path in backing if str(ground.home) in path.read_text()], what
