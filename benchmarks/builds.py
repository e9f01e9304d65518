# SPDX-License-Identifier: GPL-2.0-or-later
"""The two labs that are compared: this checkout, and the one before there were checkpoints.

That one comes from the repository's own history, and has a Python environment, a cache and a state
of its own.
"""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.spent import Spent, spending
from lab.errors import HostError
from lab.host import dirs
from lab.host.command import run

ROOT = Path(__file__).resolve().parent.parent

BEFORE = "2fd70c8"
"""The last commit whose guests were always booted, and reached over SSH alone."""

DEADLINE = 1200.0
"""Seconds for a command of a lab."""


@dataclass(frozen=True)
class Build:
    """A lab that can be run; `environment` is what it has beside this process's own."""

    name: str
    binaries: Path
    environment: tuple[tuple[str, str], ...]

    def lab(self, *words: str, statuses: Sequence[int] = (0,)) -> tuple[str, Spent]:
        """Run a command of it under TCG, as on every host without KVM; its stdout, and what it
        took.  Raises HostError for another exit status."""
        return self.run([str(self.binaries / "lab"), *words], statuses)

    def python(self, script: Path, *words: str) -> tuple[str, Spent]:
        """Run a script in its Python.  Raises HostError."""
        return self.run([str(self.binaries / "python"), str(script), *words], (0,))

    def run(self, argv: Sequence[str], statuses: Sequence[int]) -> tuple[str, Spent]:
        """Run a program in its environment; its stdout, and what it took.  Raises HostError."""
        with spending() as spent:
            try:
                done = subprocess.run(
                    argv,
                    env={**_inherited(), "LAB_ACCEL": "tcg", **dict(self.environment)},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=DEADLINE,
                )
            except subprocess.TimeoutExpired as error:
                raise HostError(f"{self.name}: no end after {DEADLINE:.0f} s: {argv}") from error
        if done.returncode not in statuses:
            words = " ".join(argv)
            raise HostError(f"{self.name}: {words}: {done.returncode}", detail=done.stderr[-4000:])
        return done.stdout, spent

    def document(self, *words: str) -> tuple[dict[str, Any], Spent]:
        """Run a suite with --json, which may find something.  Raises HostError."""
        out, spent = self.lab(*words, statuses=(0, 1))
        found: dict[str, Any] = json.loads(out)
        return found, spent

    def guest_directory(self, name: str) -> Path:
        """Where a guest of it is."""
        return Path(dict(self.environment)["XDG_STATE_HOME"]) / "lab/guests" / name


def _inherited() -> dict[str, str]:
    """This process's environment, but that modules are compiled once, as they are for users."""
    return {key: os.environ[key] for key in os.environ if key != "PYTHONDONTWRITEBYTECODE"}


def now(**more: str) -> Build:
    """This checkout, with the user's cache and a state of its own."""
    state = dirs.cache("benchmarks", "now")
    environment = {"XDG_STATE_HOME": str(state), **more}
    return Build("now", Path(sys.executable).parent, tuple(environment.items()))


def before() -> Build:
    """The lab of the commit BEFORE, set up at first use: minutes, and a network.

    Raises HostError where the history does not have it, or its parts cannot be had.
    """
    place = dirs.cache("benchmarks", BEFORE)
    tree = place / "tree"
    if not tree.exists():
        _check_out(tree)
    binaries = tree / ".venv/bin"
    if not (binaries / "ready").exists():
        run([sys.executable, "-m", "venv", binaries.parent], deadline=120)
        pip = (binaries / "pip", "install", "--quiet", "--disable-pip-version-check")
        run([*pip, "--editable", tree], deadline=600)
        (binaries / "ready").touch()
    environment = {"XDG_CACHE_HOME": str(place / "cache"), "XDG_STATE_HOME": str(place / "state")}
    for directory in environment.values():
        Path(directory).mkdir(exist_ok=True)
    build = Build("before", binaries, tuple(environment.items()))
    for words in (("image", "build", "trixie"), ("kernel", "build", "debian")):
        build.lab(*words)
    return build


def _check_out(tree: Path) -> None:
    """Unpack the commit, whole or not at all."""
    archive, new = tree.with_suffix(".tar"), tree.with_suffix(".new")
    try:
        run(["git", "-C", ROOT, "archive", f"--output={archive}", BEFORE], deadline=60)
    except HostError as error:
        raise HostError(
            f"this repository does not have {BEFORE}", detail=error.detail,
            hint="git fetch --unshallow",
        ) from error  # fmt: skip
    with tarfile.open(archive) as tar:
        tar.extractall(new, filter="data")
    archive.unlink()
    new.rename(tree)
