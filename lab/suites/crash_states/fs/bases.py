# SPDX-License-Identifier: GPL-2.0-or-later
"""The media that workloads begin with: each is made once, by whichever guest needs it first."""

import threading
from collections import defaultdict
from pathlib import Path

from lab.host.clone import clone
from lab.host.dirs import not_writable
from lab.suites.crash_states.fs.bench import FsBench
from lab.suites.crash_states.fs.kinds import FileSystemKind
from lab.suites.crash_states.fs.record import BASE, base_name
from lab.suites.crash_states.fs.workload import FsWorkload

_PARTIAL = ".new"


class BaseMedia:
    """Those of a run, in its directory; they are there until it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._each: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._wanted: set[str] = set()

    def get(self, bench: FsBench, kind: FileSystemKind, workload: FsWorkload) -> Path:
        """That of a workload.  Raises StepRefused, GuestLost and LabError."""
        name = base_name(kind, workload)
        path = self._directory / name
        with self._lock:
            lock = self._each[name]
        with lock:
            if not path.exists():
                made = bench.make(kind, workload.setup)
                new = path.with_suffix(_PARTIAL)
                clone(made, new)
                new.replace(path)
                made.unlink()
        return path

    def keep(self, kind: FileSystemKind, workload: FsWorkload) -> None:
        """One that is needed to see a failure again."""
        self._wanted.add(base_name(kind, workload))

    def take_over(self, directory: Path) -> None:
        """Begin with the media of another run: its failures can be seen again on these alone.
        Raises HostError."""
        for path in sorted(directory.glob(BASE.format("*", "*"))):
            if path.suffix != _PARTIAL:
                try:
                    clone(path, self._directory / path.name)
                except OSError as error:
                    raise not_writable(self._directory / path.name, error) from error
                self._each[path.name] = threading.Lock()

    def close(self) -> None:
        """Remove the others."""
        for name in {*self._each} - self._wanted:
            (self._directory / name).unlink(missing_ok=True)
