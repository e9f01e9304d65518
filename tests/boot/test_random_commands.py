# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands of two labs in any order, on real guests: whatever came before, each does what it says,
and nothing is left over of it.

LAB_LONG=MINUTES goes on for so long; LAB_LONG_SEED=N is the first seed from which commands are
drawn, and each seed after it draws COMMANDS more.
"""

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, reject, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import lab as library
from tests.boot.conftest import Lab, make_cache, wait_for
from tests.boot.model import Model, descriptors, entries, lab_at, resident

MINUTES = float(os.environ.get("LAB_LONG", "0"))
SEED = int(os.environ.get("LAB_LONG_SEED", "0"))

pytestmark = pytest.mark.skipif(not MINUTES, reason="LAB_LONG is not set")

DEADLINE = 900.0
COMMANDS = 40
"""In one go, after which all guests are taken down."""
STOPPED = 25.0
"""Seconds that a lab stands still which is stopped: longer than QMP's deadline and QEMU's for its
start."""
GROWTH = 64 << 20
"""Bytes that this process may grow by in all that it does with the library, after the first go."""
LARGEST = 512 << 20
"""Bytes of memory that no command needs."""

LABS = st.integers(0, 1)
NAMES = st.sampled_from(["a", "b"])
ACTIONS = st.sampled_from(["eio", "kill", "resume,power-cut"])
CELL = ("--ranges", "1", "--points", "write:1", "--actions")
RUN = ("run", "nvme-copy", "copy-faults", "--json", "--", *CELL)
COPY = ("nvme-copy", "--serial", "LABNVME0", "--to", "4096", "0+64")


class Commands(RuleBasedStateMachine):
    """Two labs, and what is said to them; `place`, `log` and `counts` are set before."""

    place: Path
    log: Path
    counts: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.models = [Model(lab_at(self.place / name)) for name in ("one", "two")]

    def having(self, what: Callable[[Model, str], bool]) -> list[tuple[int, Model, str]]:
        """The guests of which that is so: number of the lab, lab, name."""
        every = [(n, model, name) for n, model in enumerate(self.models) for name in ("a", "b")]
        return [each for each in every if what(*each[1:])]

    def ran(self) -> list[tuple[int, Model, str]]:
        """The runs that have ended: number of the lab, lab, run."""
        return [
            (n, model, run) for n, model in enumerate(self.models) for run in sorted(model.runs)
        ]

    @contextmanager
    def told(self, what: str, *words: object) -> Iterator[None]:
        """Have a command written down, and everything checked after it."""
        self.counts[what] += 1
        began = time.monotonic()
        with self.log.open("a") as log:
            print(time.strftime("%T"), what, *words, file=log)
        yield
        for model in self.models:
            model.check()
        with self.log.open("a") as log:
            print(f"         {time.monotonic() - began:.1f} s", file=log)

    @initialize(drawn=st.integers(0, 1 << 32))
    def begin(self, drawn: int) -> None:
        """Hypothesis begins with what is simplest: one command again and again."""
        if not drawn:
            reject()

    @rule(number=LABS, name=NAMES)
    def up(self, number: int, name: str) -> None:
        model = self.models[number]
        with self.told("up", number, name):
            done = model.lab("up", "nvme-copy", "--name", name, deadline=DEADLINE)
            assert ("already up" in done.stdout) == model.up(name), done
            model.guests[name] = "up"

    @rule(number=LABS, name=NAMES)
    def down(self, number: int, name: str) -> None:
        model = self.models[number]
        with self.told("down", number, name):
            model.lab("down", name, status=0 if name in model.guests else 2)
            model.gone(name)

    @precondition(lambda self: self.having(Model.up))
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """The host, or a person, kills a QEMU."""
        number, model, name = data.draw(st.sampled_from(self.having(Model.up)))
        with self.told("kill", number, name):
            os.kill(model.pid(name), signal.SIGKILL)
            model.dead(name)
            wait_for(lambda: model.lab.ls()[name]["state"] == "died", "the end of QEMU")

    @rule(number=LABS, name=NAMES)
    def ssh(self, number: int, name: str) -> None:
        model = self.models[number]
        with self.told("ssh", number, name):
            status = 0 if model.up(name) else 3 if name in model.guests else 2
            model.lab("ssh", name, "--", "true", status=status)

    @precondition(lambda self: self.having(Model.idle))
    @rule(data=st.data(), error=st.sampled_from(["none", "eio", "enospc"]))
    def fault(self, data: st.DataObject, error: str) -> None:
        """A copy is held, gets an error or not, and goes on."""
        number, model, name = data.draw(st.sampled_from(self.having(Model.idle)))
        with self.told("fault", number, name, error):
            model.lab("fault", name, "hold", "--at", "write:1")
            copy = model.lab.start("ssh", name, "--", *COPY)
            try:
                wait_for(lambda: model.fault(name) == "held", "a held copy")
                model.lab("fault", name, "inject", error)
                model.lab("fault", name, "release")
                out, err = copy.communicate(timeout=DEADLINE)
            finally:
                copy.kill()
                copy.wait()
            assert (json.loads(out)["status"] == 0) == (error == "none"), (out, err)

    @precondition(lambda self: self.having(Model.idle))
    @rule(data=st.data())
    def arm(self, data: st.DataObject) -> None:
        """A breakpoint is set and left, for whatever comes then."""
        number, model, name = data.draw(st.sampled_from(self.having(Model.idle)))
        with self.told("arm", number, name):
            model.lab("fault", name, "hold", "--at", "write:1")
            model.armed.add(name)

    @precondition(lambda self: self.having(Model.held))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        number, model, name = data.draw(st.sampled_from(self.having(Model.held)))
        with self.told("release", number, name):
            model.lab("fault", name, "release")
            model.armed.discard(name)

    @rule(number=LABS, actions=ACTIONS)
    def run(self, number: int, actions: str) -> None:
        model = self.models[number]
        with self.told("run", number, actions):
            model.took(json.loads(model.lab(*RUN, actions, deadline=DEADLINE).stdout))

    @rule(number=LABS, name=NAMES)
    def run_on(self, number: int, name: str) -> None:
        """A run on a guest that is there, or that cannot have one."""
        model = self.models[number]
        with self.told("run --on", number, name):
            words = ("run", "nvme-copy", "copy-faults", "--json", "--on", name, "--", *CELL, "eio")
            done = model.lab(*words, status=None, deadline=DEADLINE)
            if model.idle(name):
                assert done.returncode == 0, done
                model.took(json.loads(done.stdout))
            else:
                assert done.returncode in (2, 3), done

    @rule(number=LABS, actions=ACTIONS, after=st.floats(0.2, 12))
    def run_killed(self, number: int, actions: str, after: float) -> None:
        """A run is killed at some time, and swept by what comes next."""
        model = self.models[number]
        with self.told("run, killed", number, actions, f"after {after:.1f} s"):
            running = model.lab.start(*RUN, actions)
            time.sleep(after)
            running.kill()
            running.communicate()

    @rule(number=LABS, actions=ACTIONS, after=st.floats(0.2, 12))
    def run_stopped(self, number: int, actions: str, after: float) -> None:
        """A run stands still for longer than any deadline: it may fail, and blames nobody."""
        model = self.models[number]
        with self.told("run, stopped", number, actions, f"after {after:.1f} s"):
            running = model.lab.start(*RUN, actions)
            time.sleep(after)
            running.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED)
            running.send_signal(signal.SIGCONT)
            out, err = ended(running)
            assert running.returncode in (0, 3), (out, err)
            if running.returncode == 0:
                model.took(json.loads(out))

    @rule(actions=ACTIONS)
    def run_both(self, actions: str) -> None:
        """Both labs have a run at once."""
        with self.told("two runs at once", actions):
            both = [model.lab.start(*RUN, actions) for model in self.models]
            for model, running in zip(self.models, both, strict=True):
                out, err = ended(running)
                assert running.returncode == 0, (out, err)
                model.took(json.loads(out))

    @precondition(lambda self: self.ran())
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        number, model, run = data.draw(st.sampled_from(self.ran()))
        with self.told("replay", number, run):
            model.lab("replay", f"{run}:1", deadline=DEADLINE)

    @precondition(lambda self: self.ran())
    @rule(data=st.data())
    def results(self, data: st.DataObject) -> None:
        number, model, run = data.draw(st.sampled_from(self.ran()))
        bundle = self.place / "bundle.tar.gz"
        words = data.draw(st.sampled_from(
            [("show", run), ("html",), ("export", run, "--to", "junit"),
             ("bundle", run, str(bundle)), ("compare", run, run)]
        ))  # fmt: skip
        with self.told("results", number, *words):
            model.lab("results", *words)
            bundle.unlink(missing_ok=True)

    @rule(number=LABS)
    def clean(self, number: int) -> None:
        model = self.models[number]
        with self.told("doctor --clean", number):
            model.lab("doctor", "--clean", deadline=DEADLINE)
            for name in [name for name, state in model.guests.items() if state == "died"]:
                model.gone(name)

    @precondition(lambda self: self.having(Model.up))
    @rule(data=st.data())
    def library(self, data: st.DataObject) -> None:
        """A program uses the library, again and again in one process."""
        number, model, name = data.draw(st.sampled_from(self.having(Model.up)))
        with self.told("library", number, name), environment(model.lab):
            before = descriptors(), threading.active_count()
            with library.attach(name) as guest:
                assert guest.run(["uname", "-s"]).stdout == "Linux\n"
            assert (descriptors(), threading.active_count()) == before

    def teardown(self) -> None:
        for model in self.models:
            model.lab("down", "--all")
            assert model.lab.leftovers() == []
            assert entries(model.lab.state / "tmp") == set()


def ended(running: subprocess.Popen[str]) -> tuple[str, str]:
    """What a command said, when it has ended."""
    try:
        out, err = running.communicate(timeout=DEADLINE)
    finally:
        running.kill()
        running.wait()
    assert "Traceback" not in err, err
    return out, err


def checkpointed(lab: Lab) -> None:
    """Have the checkpoint made from which all guests begin."""
    lab("up", "nvme-copy", deadline=DEADLINE)
    lab("down", "nvme-copy")
    made = Path(lab.env["XDG_CACHE_HOME"], "lab/artifacts/checkpoint")
    wait_for(lambda: list(made.glob("[!.]*")), "a checkpoint", DEADLINE)


@contextmanager
def environment(lab: Lab) -> Iterator[None]:
    """This process has the state directory of that lab."""
    before = dict(os.environ)
    os.environ.update(lab.env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_commands_in_any_order_do_what_they_say(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    checkpointed(lab_at(tmp_path / "one"))
    Commands.place, Commands.log, Commands.counts = tmp_path, tmp_path / "commands", Counter()
    end = time.monotonic() + MINUTES * 60
    drawn, grown = SEED, []
    while time.monotonic() < end:
        chosen = settings(
            max_examples=1, stateful_step_count=COMMANDS, deadline=None, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        run_state_machine_as_test(seed(drawn)(Commands), settings=chosen)
        grown.append(resident())
        drawn += 1
        print(f"seed {drawn - 1}: {Commands.counts.total()} commands, {grown[-1] >> 20} MiB")
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    print(f"{dict(Commands.counts)}; the largest command had {largest >> 20} MiB")
    assert grown[-1] - grown[0] < GROWTH
    assert largest < LARGEST
