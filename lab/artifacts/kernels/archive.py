# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel in packages that lie here: .deb files, or the tar file of `make tarxz-pkg`."""

import re
import shutil
import tarfile
from pathlib import Path
from typing import Literal

from lab.artifacts import formats
from lab.artifacts.cache import Progress
from lab.artifacts.formats import Kind
from lab.artifacts.kernels import root
from lab.artifacts.kernels.source import ForeignKernel, KernelSource, head, identity, readable
from lab.errors import UsageError
from lab.host.command import run

_PART = re.compile(
    r"linux-(?:image|image-unsigned|binary|binary-unsigned|modules|modules-extra|base)-(?P<rest>.+)"
)
"""The packages that one kernel comes in: Debian's from 7.x on, and Ubuntu's."""


class Archive(KernelSource):
    """Files of packages that together hold one kernel."""

    type: Literal["archive"] = "archive"
    archive: Path
    """The file that was named; what belongs to it lies beside it."""

    @property
    def summary(self) -> str:
        return readable(self.archive)

    def inputs(self, progress: Progress) -> dict[str, str]:
        for file in self._files():
            head(file)
        if _top(self.archive).startswith("linux"):
            raise UsageError(
                f"{self.archive}: sources, not a built kernel",
                hint=f"the lab builds them: lab kernel add NAME --source {readable(self.archive)}",
            )
        return {"files": "\n".join(identity(file) for file in self._files())}

    def build(self, directory: Path, progress: Progress) -> dict[str, str]:
        progress("unpack")
        scratch = directory / "unpacked"
        scratch.mkdir()
        files = self._files()
        for file in files:
            _unpack(file, scratch)
        try:
            image = root.kernel_in(scratch)
            image.inputs(progress)
        except ForeignKernel as error:
            raise ForeignKernel(self._own(error.message, scratch)) from error
        except UsageError as error:
            raise UsageError(
                self._own(error.message, scratch),
                hint=_advice(self.archive) or "an image and its modules are needed",
            ) from error
        versions = image.build(directory, progress)
        shutil.rmtree(scratch)
        return versions

    def _own(self, message: str, scratch: Path) -> str:
        """A message about what was unpacked, as one about the archive."""
        said = message.removeprefix(f"{scratch}: ").replace(f"{scratch}/", "")
        return f"{self.archive}: {said}"

    def _files(self) -> list[Path]:
        return together(self.archive)


def together(archive: Path) -> list[Path]:
    """The packages of the kernel that `archive` is a part of, by the names that they have."""
    part = _PART.fullmatch(archive.name)
    if not part or not archive.name.endswith(".deb"):
        return [archive]
    beside = [path for path in archive.parent.glob("linux-*.deb") if path != archive]
    others = [(_PART.fullmatch(path.name), path) for path in beside]
    return [archive, *sorted(path for found, path in others if found and _same(found, part))]


def _same(one: re.Match[str], other: re.Match[str]) -> bool:
    return one["rest"] == other["rest"]


def _unpack(file: Path, target: Path) -> None:
    if formats.of(head(file)).kind is Kind.DEB:
        run(["dpkg-deb", "--extract", file, target], deadline=300)
    else:
        run(["tar", "-xf", file, "-C", target, "--no-same-owner"], deadline=600)


def _top(archive: Path) -> str:
    """The first directory in a tar file; '' where Python cannot read it, or it is none."""
    try:
        with tarfile.open(archive, "r|*") as tar:
            first = tar.next()
    except (tarfile.TarError, OSError, EOFError):
        return ""
    return first.name.removeprefix("./").partition("/")[0] if first else ""


def _advice(archive: Path) -> str:
    """What to do about a package that holds no whole kernel; '' if nothing is known."""
    part = _PART.fullmatch(archive.name)
    if not part or not archive.name.endswith(".deb"):
        return ""
    rest = part["rest"].partition("_")[0]
    return f"put linux-image-{rest}, linux-binary-{rest} and linux-modules-{rest} beside it"
