# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot tests use the lab as a person does: as commands, on real guests.

Artifacts come from the user's cache, so they are built once; everything else lives in a state
directory of the test session, deep enough that no Unix socket address could hold its path.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.guest.registry import SPARE
from lab.host import dirs

TWO_KERNELS = """\
kernels:
  - kernel: debian
    baseline: true
  - kernel: linux-image-cloud-amd64
profiles: [nvme-copy]
suites:
  - suite: copy-faults
    args: [--ranges, "1", --points, "write:1", --actions, "resume,eio"]
    repeat: {repeat}
"""
"""A plan of short runs, each so often, on a baseline and on a kernel beside it."""

LAB = str(Path(sys.executable).with_name("lab"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the profiles: no other module takes as long, and no worker shall be alone with it
    at the end."""
    items.sort(key=lambda item: item.path.stem != "test_profiles")


@dataclass(frozen=True)
class Lab:
    """The lab with a state directory of its own."""

    state: Path
    env: dict[str, str]
    program: str = LAB
    cwd: Path | None = None

    def __call__(
        self,
        *words: str,
        status: int | None = 0,
        deadline: float = 300,
        env: dict[str, str] | None = None,
        text: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with `text` on its stdin; `status` is the exit status it must have (None:
        any)."""
        done = subprocess.run(
            [self.program, *words],
            env=self.env | (env or {}),
            cwd=self.cwd,
            input=text,
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if status is not None:
            assert done.returncode == status, f"{words}:\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command and do not wait for it."""
        return subprocess.Popen(
            [self.program, *words],
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ls(self) -> dict[str, dict[str, Any]]:
        """The guests by name, as `lab ls --json` tells."""
        return {guest["name"]: guest for guest in json.loads(self("ls", "--json").stdout)}

    def faults(self, *args: str, on: str = "", status: int | None = 0) -> dict[str, Any]:
        """A run of copy-faults on nvme-copy; its JSON, see apart()."""
        where = ["--on", on] if on else []
        done = self("run", "nvme-copy", "copy-faults", "--json", *where, "--", *args, status=status)
        return apart(json.loads(done.stdout))

    def processes(self, besides: Collection[str] = ()) -> list[str]:
        """Command lines of all processes that work below the state directory, `besides` those of
        some guests; without what supervisors start for a moment, and end with themselves."""
        others = {self.state / "lab/guests" / name for name in besides}
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                cwd = (entry / "cwd").readlink()
                if cwd.is_relative_to(self.state) and cwd not in others and not of_moments(entry):
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found

    def loops(self) -> list[str]:
        """Loop devices of the host over files below the state directory."""
        backing = Path("/sys/block").glob("loop*/loop/backing_file")
        return [str(path) for path in backing if str(self.state) in path.read_text()]

    def leftovers(self, besides: Collection[str] = ()) -> list[str]:
        """Whatever a guest left behind: processes, loop devices, and entries of the guests
        directory, which has its files and sockets; `besides` the processes of some guests."""
        guests = self.state / "lab/guests"
        entries = sorted(str(path) for path in guests.iterdir()) if guests.exists() else []
        return entries + self.processes(besides) + self.loops()


def of_moments(process: Path) -> bool:
    """Whether lab/vm/supervise.sh started it from its look at the sizes of the logs, which is a
    child of the supervisor itself; raises OSError if it has ended."""
    for _ in range(2):
        # proc(5): the name, in parentheses, may have blanks.
        process = process.with_name((process / "stat").read_text().rpartition(")")[2].split()[1])
        if "supervise.sh" not in (process / "cmdline").read_text():
            return False
    return True


def make_lab(state: Path) -> Lab:
    """A lab on a state directory."""
    state.mkdir(parents=True, exist_ok=True)
    # Guests hang and crash in many tests; a gigabyte of memory is kept in those of dumps.
    config = state / "no-dumps"
    (config / "lab").mkdir(parents=True, exist_ok=True)
    (config / "lab/config.yaml").write_text("dumps: {take: false}\n")
    env = {"XDG_STATE_HOME": str(state), "XDG_CONFIG_HOME": str(config)}
    return Lab(state, {**os.environ, **env})


def make_cache(place: Path) -> None:
    """A cache of its own that has what guests boot, as the user's has it, and nothing else."""
    for kind in ("image", "kernel", "initramfs", "tool"):
        shutil.copytree(
            dirs.cache("artifacts", kind), place / "lab/artifacts" / kind,
            copy_function=_linked, ignore=shutil.ignore_patterns(".*"),
        )  # fmt: skip


def _linked(source: str, target: str) -> None:
    """A file of the cache, which nobody writes to, under another name."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="session", autouse=True)
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What most guests boot, built before any deadline of a test runs."""
    builder = make_lab(tmp_path_factory.mktemp("builder"))
    builder("image", "build", "trixie", deadline=1800)
    builder("kernel", "build", "debian", deadline=1800)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab of the test session; nothing of it may be left at the end."""
    deep = tmp_path_factory.mktemp("state") / "a-directory-with-a-rather-long-name" / ("x" * 80)
    lab = make_lab(deep)
    yield lab
    lab("down", "--all")
    assert lab.leftovers() == []


@pytest.fixture(scope="session")
def guest(lab: Lab) -> str:
    """A running nvme-copy guest that tests share and leave as they found it."""
    lab("up", "nvme-copy", "--name", "shared", deadline=900)
    return "shared"


def wait_for(condition: Callable[[], Any], what: str, deadline: float = 60) -> Any:
    """Poll until the condition is true and return its value."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {deadline} s")


def steps(output: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in output.splitlines()]


def booted(lab: Lab, directory: Path, name: str, text: str) -> Iterator[dict[str, Any]]:
    """A guest of the profile while a module's tests use it: what `lab up --json` says."""
    guests = lab.state / "lab/guests"
    # Their supervisors start a program every few seconds.
    others = {path.name for path in guests.iterdir()} if guests.exists() else set()
    before = lab.leftovers(others)
    (directory / f"{name}.yaml").write_text(text)
    yield json.loads(lab("up", str(directory / f"{name}.yaml"), "--json", deadline=900).stdout)
    lab("down", name)
    assert lab.leftovers(others) == before


def capability(document: dict[str, Any], of: str, name: str) -> dict[str, Any]:
    """A row of the table of capabilities."""
    rows: list[dict[str, Any]] = document["capabilities"]
    (found,) = (row for row in rows if (row["of"], row["capability"]) == (of, name))
    return found


def verified(lab: Lab, name: str) -> dict[str, str]:
    """What `layers verify` finds, by name."""
    out = lab("ssh", name, "--", "layers", "verify", "--json").stdout
    return {step["name"]: step["status"] for step in steps(out)}


def guest_of_a_run(lab: Lab) -> str:
    """The name of the guest that a run which was just started has, as soon as it can be reached."""

    # Not by `lab ls`, which would take a whole CPU from the guest that is waited for.
    def found() -> list[str]:
        records = (lab.state / "lab/guests").glob("run-*/guest.json")
        return [path.parent.name for path in records if SPARE not in path.parent.name]

    name: str = wait_for(found, "the guest of a run", 300)[0]
    return name


@pytest.fixture
def profile_with(tmp_path: Path) -> Callable[[str], str]:
    """Write nvme-copy with lines added to its `guest` section; returns the file's path."""

    def write(lines: str) -> str:
        path = tmp_path / "changed.yaml"
        path.write_text(
            "description: a guest for a test\n"
            f"guest:\n{lines}\n"
            "devices:\n"
            "  - type: nvme\n"
            "    serial: LABNVME0\n"
            "    namespaces:\n"
            "      - size: 64M\n"
        )
        return str(path)

    return write


def apart(document: dict[str, Any]) -> dict[str, Any]:
    """A run's JSON with the copy without a fault, which is its first case, taken out of the cases
    and put under `rehearsal`, which a path that is not supported has not."""
    cases = document["cases"]
    if cases and cases[0]["name"] == "rehearsal":
        document["rehearsal"] = first = cases.pop(0)
        assert first["number"] == 0
        assert first["verdict"] == "holds" or document["plant"], first
        document["verdicts"] = dict(Counter(case["verdict"] for case in cases))
    else:
        assert document["not_supported"] or document["error"], "not rehearsed"
    return document


def case(run: dict[str, Any], name: str) -> dict[str, Any]:
    """The case of that name in a run's JSON."""
    found: dict[str, Any]
    (found,) = [case for case in run["cases"] if case["name"] == name]
    return found


def kept(lab: Lab, run: dict[str, Any], path: str) -> str:
    """A file of the run's directory."""
    place: Path = lab.state / "lab/runs" / run["run"] / path
    return place.read_text()
