"""What every source of a kernel has in common."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from lab.build.artifacts import Progress


class Source(BaseModel, ABC):
    """Where a kernel comes from; as JSON it is the definition of a named kernel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    room: ClassVar[int] = 1 << 30
    """Bytes free before a build."""

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


def readable(path: Path) -> str:
    """A path as a user would write it, with ~ for the home directory."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
