# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests of this user: one directory each, below the state directory.

A directory is locked (flock on the directory itself, so nothing else is left behind) while a
guest in it is started or taken down.  A guest started by `lab up` stays until `lab down`; one
that a run started for itself names that run's process as its owner and goes with it.
"""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.errors import HostError, UsageError
from lab.host import dirs
from lab.host.process import Process, working_in
from lab.profile.models import Profile
from lab.vm.link import Link
from lab.vm.support import MissingFeature

RECORD = "guest.json"
SPARE = "~spare"
"""What the name of a spare's directory has behind that of its guest; no guest's name has it."""


class Record(BaseModel):
    """What any later command must know about a guest; guest.json in its directory."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    profile: Profile
    kernel: str
    """Kernel release."""
    qemu: Process
    accelerator: str
    accelerator_note: str
    """Why it is not KVM; empty if it is."""
    port: int
    """Loopback port of its SSH server."""
    started: float
    """Seconds since the epoch."""
    owner: Process | None = None
    """The process it belongs to: a run, or a `lab up` that is not through; otherwise None."""
    link: Link | None = None
    """To the guest it shares a profile with."""
    missing: tuple[MissingFeature, ...] = ()
    """What the profile's devices lack, because this QEMU has it not."""
    trees: tuple[Path, ...] = ()
    """Packed trees of suites that it has as disks."""
    agent: bool = False
    """Whether its agent answers on its port."""
    cold: str | None = ""
    """Why it was booted; None if it began from a checkpoint."""

    def alive(self) -> bool:
        """Whether its QEMU still runs."""
        return self.qemu.alive()

    def foreign(self) -> bool:
        """Whether it is of a lab on another host, or in another namespace of processes: nobody here
        knows whether it runs."""
        return self.qemu.foreign() or (self.owner is not None and self.owner.foreign())

    @property
    def host(self) -> str:
        """The name of the host whose guest it is; '' in what older labs wrote."""
        return self.qemu.origin.host if self.qemu.origin else ""

    def is_of(self, profile: Profile) -> bool:
        """Whether it is a guest of a profile, whatever way it has begun."""
        way = {"boot": profile.guest.boot, "spares": profile.guest.spares}
        guest = self.profile.guest.model_copy(update=way)
        return self.profile.model_copy(update={"guest": guest}) == profile

    def orphaned(self) -> bool:
        """Whether the run that owns it is gone."""
        return self.owner is not None and not self.owner.alive()


class Busy(HostError):
    """Another lab process is starting or stopping the guest of that name."""


def directory(name: str) -> Path:
    """The directory of the guest called `name`.  Raises UsageError for an impossible name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", name):
        raise UsageError(
            f"guest name {name!r}: not a name",
            hint="letters, digits, '-' and '.', at most 63, beginning with a letter or digit",
        )
    return dirs.state("guests") / name


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a guest's directory, which is created if missing.  Raises Busy if another lab
    process holds it."""
    fd = _lock(path)
    try:
        yield
    finally:
        os.close(fd)


def _lock(path: Path) -> int:
    while True:
        path.mkdir(exist_ok=True, mode=0o700)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:  # removed since: again
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except BlockingIOError:
            os.close(fd)
            raise Busy(
                f"guest {path.name}: another lab process is starting or stopping it",
                hint="wait for that one, or give this guest another name with --name",
            ) from None
        except FileNotFoundError:
            pass
        os.close(fd)


def read(path: Path) -> Record | None:
    """The record in a guest's directory; None when there is none, or it is damaged."""
    try:
        return Record.model_validate_json((path / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def write(path: Path, record: Record) -> None:
    """Put a record in place, atomically."""
    new = path / f"{RECORD}.new"
    new.write_text(record.model_dump_json(indent=1))
    new.replace(path / RECORD)


def find(name: str) -> Record:
    """The record of a guest.  Raises UsageError when there is no guest of that name."""
    record = read(directory(name))
    if record is None:
        names = ", ".join(record.name for record in listing()) or "none"
        raise UsageError(f"no guest {name}", hint=f"guests: {names}; start one with lab up")
    return record


def require_ours(record: Record) -> None:
    """Raise UsageError for a guest of another host: what is done to it can harm one that runs."""
    if record.foreign():
        raise UsageError(
            f"guest {record.name} is of another host, {record.host}",
            hint="speak to it, or take it down, there; where that is no more: "
            f"rm -r {directory(record.name)}",
        )


def listing() -> list[Record]:
    """All guests with a record, by name."""
    found = (read(path) for path in sorted(dirs.state("guests").iterdir()))
    return [record for record in found if record]


def remove(path: Path) -> None:
    """End the guest in a directory and remove it.  The caller holds its lock."""
    end_processes(path)
    shutil.rmtree(path)


def end_processes(path: Path) -> None:
    """End the QEMU that works in a guest's directory, and its supervisor, recorded or not, with
    whatever that has started."""
    # A spare is called as the guest whose place it is to take.
    name = path.name.partition(SPARE)[0]
    found = working_in(path, f"guest={name}")
    for process in found:
        process.kill_group()


def sweep() -> list[str]:
    """Remove what killed labs left behind: guests half-started, guests of runs that are gone, and
    one of two whose other end is.  Returns their names."""
    guests = sorted(dirs.state("guests").iterdir())
    return [path.name for path in guests if remove_if(path, was_left)]


def remove_if(path: Path, condition: Callable[[Path], bool]) -> bool:
    """Remove a guest's directory if a condition holds for it, before and after it is locked;
    whether it was removed.  One that another lab process is starting or stopping is left alone."""
    if not condition(path):
        return False
    try:
        with locked(path):
            if not condition(path):
                return False
            remove(path)
            return True
    except Busy:
        return False


def left_behind() -> list[Path]:
    """What sweep() would remove."""
    found = []
    for path in sorted(dirs.state("guests").iterdir()):
        # One that is being started looks the same, but for its lock.
        with contextlib.suppress(Busy):
            if was_left(path):
                with locked(path):
                    found.append(path)
    return found


def was_left(path: Path) -> bool:
    """Whether a guest is one that a killed lab left, or is just being started; or one of two that
    live and die together, whose other end is gone.

    A record that another version of the lab wrote may be unreadable: that guest stays, as does one
    of another host.
    """
    record = read(path)
    if record is None:
        return path.is_dir() and not (path / RECORD).exists()
    if record.foreign():
        return False
    return record.orphaned() or (record.owner is None and _bereft(record))


def _bereft(record: Record) -> bool:
    """Whether a guest's other end is gone, or is left: a lab was killed between the two."""
    if record.link is None:
        return False
    path = directory(record.link.other)
    if path.exists():
        other = read(path)
        return other is not None and other.orphaned()
    # For a moment a spare that takes over is in neither place.
    return not any(path.parent.glob(f"{path.name}{SPARE}*"))


def died(path: Path) -> bool:
    """Whether a guest that stays until `lab down` is dead all the same."""
    record = read(path)
    return record is not None and record.owner is None and not record.alive()
