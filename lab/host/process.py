# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes by pid and start time, so that a recycled pid is never taken for the old process."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import HostError
from lab.host.origin import ProcessOrigin, here


@dataclass(frozen=True)
class Process:
    """One process; `started` is field 22 of /proc/PID/stat (clock ticks)."""

    pid: int
    started: int
    origin: ProcessOrigin | None = field(default=None, compare=False)
    """Where it is; None: here, in what older labs wrote."""

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """The live process with this pid; None when there is none or it is a zombie."""
        try:
            fields = _stat(Path(f"/proc/{pid}"))
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]), here())

    def alive(self) -> bool:
        """Whether this very process still runs, as far as can be told: a foreign one does."""
        if self.origin is None:
            return Process.of(self.pid) == self
        if self.foreign():
            return True
        return not self.origin.before(here()) and Process.of(self.pid) == self

    def foreign(self) -> bool:
        """Whether it is of another host, or in another namespace, so that nobody here knows what
        became of it."""
        return self.origin is not None and not self.origin.seen_from(here())

    def kept_waiting(self) -> float:
        """Seconds in which it would have run and had no processor, since its start: those of the
        thread that had most of them; 0 where the kernel does not tell, or when it is gone.

        /proc/PID/task/TID/schedstat, second field, nanoseconds (Documentation/scheduler/
        sched-stats.rst).
        """
        waited = 0
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    waited = max(waited, int((task / "schedstat").read_text().split()[1]))
        return waited / 1e9

    def kill(self, *, deadline: float = 10.0) -> None:
        """SIGKILL it and wait until it is gone.  Raises HostError if it is not after `deadline`
        seconds: it then hangs in the kernel; and for a foreign one."""
        if self.foreign():
            assert self.origin is not None
            raise HostError(f"process {self.pid} is of another host, {self.origin.host}",
                            hint="end it there")  # fmt: skip
        if not self.alive():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        end = time.monotonic() + deadline
        while self.alive():
            if time.monotonic() > end:
                raise HostError(
                    f"process {self.pid} does not die of SIGKILL",
                    hint=f"it hangs in the host's kernel: cat /proc/{self.pid}/stack",
                )
            time.sleep(0.002)

    def kill_group(self) -> None:
        """SIGKILL it and all that it has started, or was started with, in one process group, and
        wait until it is gone; not those of this process's own group.  Raises HostError as kill."""
        with contextlib.suppress(ProcessLookupError):
            group = os.getpgid(self.pid)
            if not self.foreign() and self.alive() and group != os.getpgid(0):
                os.killpg(group, signal.SIGKILL)
        self.kill()


@dataclass(frozen=True)
class Brood:
    """All processes of a session, which has the number of the one that began it."""

    leader: int

    def kept_waiting(self) -> float:
        """Seconds in which they would have run and had no processor, those of all together."""
        return sum(each.kept_waiting() for each in self._members())

    def _members(self) -> Iterator[Process]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    # The session is field 6.
                    fields = _stat(entry)
                    if int(fields[3]) == self.leader:
                        yield Process(int(entry.name), int(fields[19]))


def _stat(process: Path) -> list[str]:
    """Fields 3 and on of proc_pid_stat(5).  Raises OSError."""
    # The name before them, in parentheses, may itself contain blanks and parentheses, and is cut
    # after 15 bytes, in the middle of a character too.
    return (process / "stat").read_bytes().rpartition(b")")[2].decode().split()


def me() -> Process:
    """This process."""
    process = Process.of(os.getpid())
    assert process is not None
    return process


def working_in(directory: Path, argument: str) -> list[Process]:
    """The processes that work in `directory` and have `argument` on their command line.

    Without the argument the user's own shell would be among them, if it stands there.  Those of
    other users are not seen.
    """
    wanted = directory.resolve()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "cwd").readlink() != wanted:
                continue
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        process = Process.of(int(entry.name)) if argument.encode() in arguments else None
        if process:
            found.append(process)
    return found


def touching(directory: Path) -> list[int]:
    """The processes, but for this one, that work below `directory`, have files there open or
    mapped, or name any on their command lines.  Those of other users are seen by the last alone."""
    below = f"{directory.resolve()}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _touches(entry, below):
            found.append(int(entry.name))
    return found


def _touches(entry: Path, below: bytes) -> bool:
    """Whether a process, by its directory in /proc, has to do with paths that begin so."""
    for name in ("cmdline", "maps"):
        with contextlib.suppress(OSError):
            if below in (entry / name).read_bytes():
                return True
    with contextlib.suppress(OSError):
        links = [entry / "cwd", *(entry / "fd").iterdir()]
        for link in links:
            with contextlib.suppress(OSError):
                if f"{link.readlink()}/".encode(errors="surrogateescape").startswith(below):
                    return True
    return False
