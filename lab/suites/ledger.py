# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of a run as they come in, from one guest or from several."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lab.results.cases import Case
from lab.results.run import Run
from lab.suites.watch import Watcher


@dataclass
class Ledger:
    """Where cases are written down: in order, in the run's timeline, and for whoever watches."""

    run: Run
    watcher: Watcher[Case]
    known: Mapping[str, str] = field(default_factory=dict)
    """Why a case is expected to fail, by title."""
    cases: list[Case] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def begin(self, section: str, name: str) -> None:
        """A case has begun."""
        with self._lock:
            self.watcher.on_begin(f"{section}:{name}" if section else name)

    def add(self, case: Case) -> None:
        """A case has its result."""
        case = replace(case, known=self.known.get(case.title, case.known))
        with self._lock:
            self.cases.append(case)
            document = {key: value for key, value in case.document().items() if key != "output"}
            self.run.emit("suite", "case", **document)
            self.watcher.on_case(case)
