# SPDX-License-Identifier: GPL-2.0-or-later
"""What a lab should be like after commands that were given in any order, and whether it is."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.boot.conftest import LAB, Lab, make_lab, wait_for

PER_RUN = 128 << 10
"""Bytes of the database for each run; an empty one has fewer as well."""


@dataclass
class Model:
    """A lab, and what should be of it."""

    lab: Lab
    guests: dict[str, str] = field(default_factory=dict)
    """Their states, by name."""
    armed: set[str] = field(default_factory=set)
    """The guests in which a breakpoint is set."""
    runs: set[str] = field(default_factory=set)
    """Those that ended as they should."""

    def up(self, name: str) -> bool:
        return self.guests.get(name) == "up"

    def idle(self, name: str) -> bool:
        """Whether a guest is up in which nothing is armed."""
        return self.up(name) and name not in self.armed

    def held(self, name: str) -> bool:
        """Whether a breakpoint is set in a guest."""
        return name in self.armed

    def dead(self, name: str) -> None:
        self.guests[name] = "died"
        self.armed.discard(name)

    def gone(self, name: str) -> None:
        self.guests.pop(name, None)
        self.armed.discard(name)

    def took(self, document: dict[str, Any]) -> None:
        """A run has ended, and all in it was as it should be."""
        assert {case["verdict"] for case in document["cases"]} == {"holds"}, document
        assert not document["error"], document
        self.runs.add(document["run"])

    def known(self) -> set[str]:
        """The runs that the lab knows."""
        out = self.lab("results", "list", "--json", "-n", "10000").stdout
        return {run["run"] for run in json.loads(out)}

    def pid(self, name: str) -> int:
        return int((self.lab.state / "lab/guests" / name / "qemu.pid").read_text())

    def fault(self, name: str) -> str:
        """What is armed or held in a guest."""
        out = self.lab("fault", name, "status", "--json").stdout
        state: str = json.loads(out)["state"]
        return state

    def check(self) -> None:
        """Both what the lab says and what is there is what it should be."""
        assert {name: each["state"] for name, each in self.lab.ls().items()} == self.guests
        wait_for(lambda: not self.stray(), "the end of QEMUs that nobody should have", 120)
        state = self.lab.state / "lab"
        assert entries(state / "guests") == set(self.guests)
        assert entries(state / "scratch") == set()
        assert self.lab.loops() == []
        assert str(self.lab.state) not in Path("/proc/mounts").read_text()
        assert self.runs <= self.known()
        partial = [path for path in state.rglob("*") if path.suffix in (".new", ".part")]
        assert partial == []
        if (store := state / "store.sqlite").exists():
            assert store.stat().st_size < PER_RUN * (1 + len(entries(state / "runs")))

    def stray(self) -> list[str]:
        """QEMUs below the state directory of guests that should not run."""
        wanted = [f"guest={name} " for name in self.guests if self.up(name)]
        found = [each for each in self.lab.processes() if "-nodefaults" in each]
        return [each for each in found if not any(name in each for name in wanted)]


def entries(directory: Path) -> set[str]:
    """What is in a directory, but for locks."""
    if not directory.exists():
        return set()
    return {path.name for path in directory.iterdir() if "lock" not in path.name}


def lab_at(place: Path) -> Lab:
    """A lab with a state directory and temporary files of its own; both labs have one cache, which
    nobody else has."""
    made = make_lab(place)
    temporary = place / "tmp"
    temporary.mkdir(exist_ok=True)
    env = {"XDG_CACHE_HOME": str(place.parent / "cache"), "TMPDIR": str(temporary)}
    return Lab(made.state, made.env | env, LAB)


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
