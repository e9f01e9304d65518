# SPDX-License-Identifier: GPL-2.0-or-later
"""What every source of a QEMU has in common, and those that are used where they lie."""

import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lab.artifacts.cache import Made, Progress
from lab.artifacts.kernels.source import readable
from lab.errors import UsageError
from lab.host import qemu

PROGRAM = "qemu-system-x86_64"


class QemuSource(BaseModel, ABC):
    """Where a QEMU comes from; as JSON it is the definition of a named one."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @property
    @abstractmethod
    def summary(self) -> str:
        """Where it comes from, in a few words."""

    @abstractmethod
    def program(self, progress: Progress) -> Path:
        """The program to start, which is unpacked first if need be.

        Raises UsageError when the source is not there, HostError when it cannot be had.
        """

    def made(self) -> list[Made]:
        """What is built of it; nothing where it is used in place."""
        return []


class HostQemu(QemuSource):
    """The host's own: LAB_QEMU, or what the PATH has."""

    type: Literal["host"] = "host"

    @property
    def summary(self) -> str:
        return os.environ.get("LAB_QEMU") or PROGRAM

    def program(self, progress: Progress) -> Path:
        return Path(qemu.binary())


class QemuProgram(QemuSource):
    """A QEMU that is installed somewhere, or a script that starts one."""

    type: Literal["path"] = "path"
    path: Path

    @property
    def summary(self) -> str:
        return readable(self.path)

    def program(self, progress: Progress) -> Path:
        return _executable(self.path, "name the program itself, or --tree for a build tree")


class QemuTree(QemuSource):
    """A tree in which QEMU was built; its sources, with the build in `build`, will do as well.

    It is run in place: from a build tree QEMU finds its firmware by itself.
    """

    type: Literal["tree"] = "tree"
    tree: Path

    @property
    def summary(self) -> str:
        return readable(self.tree)

    def program(self, progress: Progress) -> Path:
        built = self.tree / "build" / PROGRAM
        where = built if built.exists() else self.tree / PROGRAM
        return _executable(
            where, "configure --target-list=x86_64-softmmu && make, in that tree or below it"
        )


def _executable(path: Path, hint: str) -> Path:
    if not path.is_file():
        raise UsageError(f"{path}: no QEMU there", hint=hint)
    if shutil.which(path) is None:
        raise UsageError(f"{path}: not executable", hint=f"chmod +x {path}")
    return path
