# SPDX-License-Identifier: GPL-2.0-or-later
"""What every source of a kernel has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from lab.artifacts import formats
from lab.artifacts.cache import BUILD_DEADLINE, Progress
from lab.errors import UsageError


class KernelSource(BaseModel, ABC):
    """Where a kernel comes from; as JSON it is the definition of a named kernel."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    room: ClassVar[int] = 1 << 30
    """Bytes free before a build."""

    deadline: ClassVar[float] = BUILD_DEADLINE
    """Seconds that build() and build_module() may take."""

    artifact: ClassVar[str] = ""
    """Name that all artifacts of such a source share; else each has that of its kernel."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """Where it comes from, in a few words."""

    @abstractmethod
    def inputs(self, progress: Progress) -> dict[str, str]:
        """All that the kernel is made of, for the artifact's key.

        Raises UsageError when the source is not there, HostError when it cannot be read.
        """

    def check_host(self) -> None:
        """Raise HostError, naming all of it, when this host lacks what building it needs."""

    @abstractmethod
    def build(self, directory: Path, progress: Progress) -> dict[str, str]:
        """Fill `directory` by pack(); return the versions of what went in.  Raises HostError."""

    def build_module(self, name: str, sources: Path, release: str, progress: Progress) -> None:
        """Make the module `name` of its `sources`, beside them, for this kernel, whose release is
        known.  Raises UsageError where nothing is there to compile it with, and HostError."""
        raise UsageError(
            f"{self.summary}: the module {name} must be compiled for that kernel, and its headers "
            "are not here",
            hint="take a built tree, sources that the lab builds, or a package of Debian",
        )

    def symbols(self, release: str, progress: Progress) -> Path:
        """The directory with the debugging information of this kernel, whose release is known, laid
        out as in a build directory, or as in /usr/lib/debug.  Raises UsageError where there is
        none to be had, and HostError."""
        raise UsageError(
            f"{self.summary}: nothing here has its debugging information",
            hint="give the directory that has its vmlinux, with --symbols",
        )

    def counting(self, places: tuple[str, ...]) -> "KernelSource":
        """The same kernel with objects that count what they execute: those of these directories
        and files of its sources.  Raises UsageError where it has none."""
        raise UsageError(
            f"{self.summary}: coverage of {', '.join(places)} needs a kernel that was compiled "
            "with gcov, and this one comes as it is",
            hint="lab kernel add NAME --source ~/src/linux (a git tree, a directory or a tar "
            "file), then --kernel NAME",
        )

    def remarks(self) -> list[str]:
        """What a user should know before the kernel boots; nothing for most."""
        return []


class ForeignKernel(UsageError):
    """What was given for a kernel is something else, and the message says what."""


@contextmanager
def permitted() -> Iterator[None]:
    """Tell of a file or directory that this user may not read by a UsageError."""
    try:
        yield
    except PermissionError as error:
        raise UsageError(
            f"{error.filename}: this user may not read it",
            hint=f"sudo chmod +r {error.filename}, or give a copy that is yours",
        ) from error


def readable(path: Path) -> str:
    """A path as a user would write it, with ~ for the home directory."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def head(file: Path) -> bytes:
    """The beginning of a file, enough to tell what it is.

    Raises UsageError when it cannot be read: Ubuntu keeps /boot/vmlinuz-* for root alone.
    """
    try:
        with permitted(), file.open("rb") as stream:
            return stream.read(formats.HEAD)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error


def identity(file: Path) -> str:
    """Place, size and time of a file, as make tells things apart; with a dash if there is none."""
    if not file.exists():
        return f"{file} -"
    status = file.stat()
    return f"{file} {status.st_size} {status.st_mtime_ns}"
