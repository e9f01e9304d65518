# SPDX-License-Identifier: GPL-2.0-or-later
"""A run: its id, its directory, and the timeline of everything that happened in it."""

import contextlib
import json
import os
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from lab.errors import HostError
from lab.host import dirs
from lab.host.dirs import not_writable

DOCUMENT = "run.json"
TIMELINE = "timeline.jsonl"
PROFILE = "profile.json"
KERNEL = "kernel.json"
"""Where the kernel comes from."""

TOKEN = "LAB_RUN_TOKEN"
"""Environment variable: a word that whoever starts a run finds in its timeline again."""

KERNEL_ROOM = 64 << 20
"""Bytes of a run's timeline that the messages of its guests' kernels may take."""

BROKEN_OFF = "broken off"
"""The last event of a run that was interrupted: its document may have some of its cases."""


Listener = Callable[[str, str, dict[str, Any]], None]
"""Is told the source, the name and the data of each event of a run, as it happens, in the thread in
which it does: the run waits for it."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Have the runs that begin in the block tell their events."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def _begin() -> tuple[datetime, Path]:
    """The time, and a directory named by it that nobody else has.

    The last part of the name is the fraction of the second, so that names sort as runs began.
    """
    runs = dirs.state("runs")
    while True:
        now = datetime.now(UTC)
        directory = runs / f"{now:%Y%m%d-%H%M%S}-{now.microsecond * 0x10000 // 1_000_000:04x}"
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise not_writable(directory, error) from error
        return now, directory


class Run:
    """One execution of a suite; use it as a context manager.

    Everything lands in its directory below the state directory: timeline.jsonl, the suite's
    document run.json, and the evidence that is kept from the guest.
    """

    def __init__(self, profile: str, suite: str) -> None:
        now, self.directory = _begin()
        self.id = self.directory.name
        self.number = secrets.randbits(63)
        """Drawn for the tags, so that what an earlier run left cannot pass for this one's."""
        self._lock = threading.Lock()
        self._said: list[tuple[str, dict[str, Any]]] = []
        self._began: Counter[tuple[str, str]] = Counter()
        self._broken_off = False
        self._kernel_room = KERNEL_ROOM
        self._listener = _LISTENER.get()
        try:
            self._timeline = (self.directory / TIMELINE).open("a", buffering=1)
        except OSError as error:
            raise not_writable(self.directory, error) from error
        self.emit(
            "lab", "run", profile=profile, suite=suite, wall=now.isoformat(),
            # A run that is made of others is the first; they are not what was asked for.
            token=os.environ.pop(TOKEN, None),
        )  # fmt: skip

    def emit(self, source: str, event: str, *, at: float | None = None, **data: object) -> None:
        """Append one event: `t` is CLOCK_MONOTONIC in seconds, now unless `at` is given.

        Raises HostError when it cannot be written: a run without its timeline proves nothing.
        """
        moment = time.monotonic() if at is None else at
        line = json.dumps({"t": round(moment, 6), "source": source, "event": event, **data})
        with self._lock:
            try:
                self._timeline.write(line + "\n")
            except ValueError:
                return  # closed: a last event of a QEMU that is going away
            except OSError as error:
                raise not_writable(self.directory, error) from error
        if self._listener:
            self._listener(source, event, data)

    def has_room(self, size: int) -> bool:
        """Whether messages of the guests' kernels may take so many bytes more of the timeline; they
        are counted as taken then."""
        with self._lock:
            fits = size <= self._kernel_room
            self._kernel_room -= size if fits else 0
        return fits

    def began(self, guest: str, way: str, why: str = "") -> None:
        """Append that a guest has begun: from a `checkpoint`, in a `spare`, or `cold`, and why."""
        self.emit("lab", "began", guest=guest, way=way, why=why or None)
        with self._lock:
            self._began[way, why] += 1

    def boots(self) -> list[dict[str, Any]]:
        """How often guests have begun, by way and reason, the most frequent first."""
        with self._lock:
            found = self._began.most_common()
        return [{"way": way, "why": why or None, "count": count} for (way, why), count in found]

    def qmp_event(self, name: str, data: dict[str, Any]) -> None:
        """Append an event of QEMU; the sink that a machine is given."""
        self.emit("qmp", name, data=data)
        self._said.append((name, data))

    def qemu_said(self, name: str, **data: object) -> bool:
        """Whether QEMU has told of an event with at least these data."""
        return any(
            said == name and data.items() <= found.items() for said, found in list(self._said)
        )

    def keep(self, file: Path, name: str, *, move: bool = False) -> None:
        """Keep a file of the guest as evidence; a second one of the same name is appended."""
        target = self._inside(name)
        try:
            if move and not target.exists():
                shutil.move(file, target)
                return
            with file.open("rb") as source, target.open("ab") as sink:
                shutil.copyfileobj(source, sink)
        except FileNotFoundError:
            return
        except OSError as error:
            raise not_writable(self.directory, error) from error

    def save(self, name: str, content: bytes) -> None:
        """Keep evidence of a case under a path in the run's directory."""
        target = self._inside(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            raise not_writable(target, error) from error

    def write(self, name: str, content: str) -> None:
        """Write a file of the run, atomically."""
        new = self._inside(f"{name}.new")
        try:
            new.write_text(content)
            new.replace(self.directory / name)
        except OSError as error:
            raise not_writable(self.directory, error) from error

    def _inside(self, name: str) -> Path:
        """The path of evidence in the run's directory.  Raises HostError for one that is not."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name or not path.name:
            raise HostError(f"evidence called {name!r} has no place in a run's directory")
        return self.directory / name

    def finish(self, document: dict[str, Any]) -> None:
        """Write the run's document."""
        self.write(DOCUMENT, json.dumps(document, indent=1) + "\n")

    def break_off(self, by: BaseException) -> None:
        """Append that it was broken off, once; before its document, which would count without."""
        if not self._broken_off:
            self.emit("lab", BROKEN_OFF, by=type(by).__name__)
            self._broken_off = True

    def close(self) -> None:
        """Close the timeline."""
        with self._lock, contextlib.suppress(OSError):
            self._timeline.close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            if error is not None:
                self.break_off(error)
        finally:
            self.close()
