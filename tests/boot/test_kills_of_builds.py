# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels that are added, built and removed, and the image, killed before any step that touches the
world, or with that step failing: the next command works, and nothing is left that a build without
any fault does not leave.

The sources are a toy with the targets of a kernel's Makefile that the lab asks for; its vmlinux
has what the lab reads of one.  A handful of faults is drawn for each command; LAB_KILLS_OF_BUILDS=N
draws N for each, and as many of the image's build, which takes minutes each time.  LAB_KILLS_PART
is which N those are.
"""

import json
import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from lab.artifacts.kernels import make
from lab.host import dirs
from tests.boot.conftest import make_cache
from tests.kills import ERRORS, PART, Ending, at, command, counted, files, processes_in, why_not
from tests.unit.builders import kernel_tree, until
from tests.unit.test_kernel_build import patches

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

DRAWN = int(os.environ.get("LAB_KILLS_OF_BUILDS", "0"))
"""Kills for each command, and as many failed steps."""

DEADLINE = 1800.0
"""Seconds for one command on a busy host; the image's build is the longest."""

MAKEFILE = """\
all: vmlinux
allnoconfig:
\tcp $(KCONFIG_ALLCONFIG) $(O)/.config
vmlinux modules: $(O)/vmlinux
$(O)/vmlinux: made/vmlinux copy.c
\t@mkdir -p $(O)/include/config
\t@cp made/vmlinux made/modules.builtin $(O)
\t@cp made/include/config/kernel.release $(O)/include/config
"""
ENTRY = """\
.section .note.Xen, "a", @note
.long 4, 4, 18
.asciz "Xen"
.long 0x100000
.text
.globl _start
_start: hlt
"""
"""Linked, it has what the lab looks for in a kernel: sections, and the note of a PVH entry."""

FLOWS = {
    "add": ["kernel", "add", "other", "--source", "SOURCES", "--series", "SERIES"],
    "build": ["kernel", "build", "toy"],
    "remove": ["kernel", "rm", "toy"],
}
LOADED = ("lab.cli", "lab.artifacts.image", "lab.artifacts.kernel", "lab.artifacts.kernels.linux")
"""What commands load is loaded once."""

NAMED = {"debian", "debian-sid", "toy"}


@dataclass(frozen=True)
class Ground:
    """A home directory that knows a kernel, and copies of it."""

    place: Path
    home: Path

    def fresh(self, flow: str) -> Path:
        """A copy, for one fault; what is removed has been built there."""
        copy = self.place / f"{flow}-copy" / "home"
        shutil.rmtree(copy.parent, ignore_errors=True)
        copy.parent.mkdir()
        shutil.copytree(self.home, copy)
        if flow == "remove":
            well(copy, "kernel", "build", "toy")
        return copy

    def argv(self, flow: str) -> list[str]:
        given = {"SOURCES": str(self.place / "toy"), "SERIES": str(self.place / "series")}
        return [given.get(word, word) for word in FLOWS[flow]]


def well(home: Path, *words: str) -> str:
    """What a command says that has nothing in its way."""
    found = command(words, home, deadline=DEADLINE)
    assert found.status == 0, (words, found)
    return found.out


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    # The toy needs no flex and no bison.
    monkeypatch.setattr(make, "check_tools", lambda: None)
    for name in LOADED:
        import_module(name)
    sources(tmp_path / "toy")
    patches(tmp_path / "toy", ("copy: Say one", "copied;", "copied = 1;"), name="series")
    home = tmp_path / "home"
    tools = home / ".cache/lab/artifacts/tool"
    shutil.copytree(
        dirs.cache("artifacts", "tool"), tools, ignore=shutil.ignore_patterns(".*")
    )  # fmt: skip
    well(home, "kernel", "add", "toy", "--source", str(tmp_path / "toy"))
    return Ground(tmp_path, home)


def sources(place: Path) -> None:
    made = kernel_tree(place / "made")
    (made / "entry.S").write_text(ENTRY)
    argv = ["gcc", "-nostdlib", "-static", "-o", str(made / "vmlinux"), str(made / "entry.S")]
    subprocess.run(argv, check=True)
    (place / "Kbuild").touch()
    (place / "Makefile").write_text(MAKEFILE)
    (place / "copy.c").write_text("int copied;\n")


def kept(home: Path) -> list[str]:
    """The files of a home directory but for those that are locked, which stay."""
    return [path for path in files(home) if not path.endswith("lock")]


@dataclass(frozen=True)
class Clean:
    """What there is where nothing was in the way: with the kernel built, and with it removed."""

    built: list[str]
    removed: list[str]

    @classmethod
    def of(cls, ground: Ground) -> "Clean":
        home = ground.fresh("clean")
        well(home, "kernel", "build", "toy")
        built = kept(home)
        well(home, "kernel", "rm", "toy")
        return cls(built, kept(home))


def check(ground: Ground, home: Path, clean: Clean, ended: Ending, what: str) -> None:
    """The next commands work, and leave what they leave of a home in which nothing went wrong."""
    assert "Traceback" not in ended.err, (what, ended)
    assert "bug of the lab" not in ended.err, (what, ended)
    until(lambda: not processes_in(home))
    names = {each["name"] for each in json.loads(well(home, "kernel", "list", "--json"))}
    known = NAMED - {"toy"} if what.startswith("remove") else NAMED
    assert known <= names <= NAMED | {"other"}, (what, names)
    if "other" in names:
        well(home, "kernel", "rm", "other")
    if not what.startswith("build"):
        # Of what was built any part may be gone; and whoever gives or takes a name removes what was
        # left of the writing of one.
        if "toy" in names:
            well(home, "kernel", "rm", "toy")
        well(home, "kernel", "add", "toy", "--source", str(ground.place / "toy"))
    well(home, "kernel", "build", "toy")
    assert kept(home) == clean.built, what
    well(home, "kernel", "rm", "toy")
    assert kept(home) == clean.removed, what
    assert str(home) not in Path("/proc/mounts").read_text(), what


@pytest.mark.parametrize("flow", FLOWS)
def test_a_build_killed_anywhere_is_made_again_and_leaves_nothing(
    flow: str, ground: Ground
) -> None:
    clean = Clean.of(ground)
    draw = random.Random(f"{flow} killed {PART}")
    calls = counted(ground.argv(flow), ground.fresh(flow), DEADLINE)
    for number in sorted(draw.sample(range(1, len(calls) + 1), min(DRAWN or 2, len(calls)))):
        home = ground.fresh(flow)
        name, when = at(calls, number)
        ended = command(ground.argv(flow), home, f"{name}:signal=SIGKILL:{when}", deadline=DEADLINE)
        what = f"{flow} killed before {name}, step {number} of {len(calls)}"
        # The last steps may come in another order, or not at all.
        assert ended.status in (0, 137), (what, ended)
        check(ground, home, clean, ended, what)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_step_of_a_build_that_fails_is_told_and_leaves_nothing(flow: str, ground: Ground) -> None:
    clean = Clean.of(ground)
    draw = random.Random(f"{flow} failed {PART}")
    calls = counted(ground.argv(flow), ground.fresh(flow), DEADLINE)
    every = [(number, error) for number in range(1, len(calls) + 1) for error in ERRORS]
    for number, error in sorted(draw.sample(every, min(DRAWN or 2, len(every)))):
        home = ground.fresh(flow)
        name, when = at(calls, number)
        ended = command(ground.argv(flow), home, f"{name}:error={error}:{when}", deadline=DEADLINE)
        what = f"{flow}: {name}, step {number} of {len(calls)}, failed with {error}"
        assert ended.status in (0, 2, 3, 141), (what, ended)
        check(ground, home, clean, ended, what)


@pytest.mark.skipif(not DRAWN, reason="LAB_KILLS_OF_BUILDS is not set")
def test_an_image_whose_build_was_killed_is_built_again(tmp_path: Path) -> None:
    """Whether killed, or with a step that fails, in turn."""
    home = tmp_path / "home"
    make_cache(home / ".cache")
    images = home / ".cache/lab/artifacts/image"
    shutil.rmtree(images)
    argv = ["image", "build", "trixie"]
    draw = random.Random(f"image {PART}")
    calls = counted(argv, home, DEADLINE)
    before = kept(home)
    for index in range(DRAWN):
        shutil.rmtree(images, ignore_errors=True)
        name, when = at(calls, draw.randint(1, len(calls)))
        way = "signal=SIGKILL" if index % 2 == 0 else f"error={draw.choice(ERRORS)}"
        ended = command(argv, home, f"{name}:{way}:{when}", deadline=DEADLINE)
        what = f"image: {way} at {name} {when}"
        print(f"{what}: status {ended.status}", flush=True)
        assert ended.status in ((0, 137) if "KILL" in way else (0, 2, 3, 141)), (what, ended)
        assert "Traceback" not in ended.err and "bug of the lab" not in ended.err, (what, ended)
        until(lambda: not processes_in(home))
        well(home, *argv)
        assert kept(home) == before, what
        assert str(home) not in Path("/proc/mounts").read_text(), what
