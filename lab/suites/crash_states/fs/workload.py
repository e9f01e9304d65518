# SPDX-License-Identifier: GPL-2.0-or-later
"""A workload on a file system: what is there before, and durable, and the steps that are tried."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lab.suites.crash_states.fs.history import FsHistory, Step
from lab.suites.crash_states.fs.tree import Tree

COMMAND = "run"
"""The step that is a command: nobody knows what it makes of the tree."""


def planted(steps: Sequence[Step]) -> Tree:
    """The tree that steps make of an empty file system."""
    tree = Tree()
    for step in steps:
        tree = tree.after(step)
    return tree


@dataclass(frozen=True)
class FsWorkload:
    """Steps, operations and calls that sync, on what `setup` makes of an empty file system."""

    name: str
    steps: tuple[Step, ...]
    setup: tuple[Step, ...] = ()
    file_systems: tuple[str, ...] = ()
    """Those that it is for; all if there are none."""
    source: str = ""
    """Where it comes from."""

    @cached_property
    def history(self) -> FsHistory | None:
        """What it makes of the tree; None where that is not known: then a state is judged by its
        structure alone.  Raises StepImpossible."""
        if any(step["do"] == COMMAND for step in (*self.setup, *self.steps)):
            return None
        return FsHistory(planted(self.setup), self.steps)

    @property
    def base(self) -> str:
        """What all workloads share that begin with the same."""
        return hashlib.sha256(json.dumps([dict(step) for step in self.setup]).encode()).hexdigest()

    @property
    def meaning(self) -> str:
        """What tells its steps, and what they begin with, from those of another."""
        said = json.dumps([[dict(step) for step in each] for each in (self.setup, self.steps)])
        return hashlib.sha256(said.encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "name": self.name,
            "setup": [dict(step) for step in self.setup],
            "steps": [dict(step) for step in self.steps],
            "source": self.source or None,
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "FsWorkload":
        """The workload of such a JSON.  Raises KeyError or TypeError."""
        steps, setup = tuple(document["steps"]), tuple(document["setup"])
        if not all(isinstance(step, dict) and "do" in step for step in (*steps, *setup)):
            raise TypeError("a step is none")
        return cls(
            str(document["name"]), steps, setup, source=str(document.get("source") or ""),
        )  # fmt: skip
