# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel from a package of Debian."""

import re
import shutil
import tarfile
from pathlib import Path
from typing import Literal

from pydantic import Field

from lab.artifacts import debian, symbols
from lab.artifacts.cache import Progress
from lab.artifacts.kernels import external
from lab.artifacts.kernels.pack import pack
from lab.artifacts.kernels.source import KernelSource
from lab.errors import HostError

SUITE = "trixie"

_MODULE = re.compile(r"(?:usr/)?lib/modules/(?P<release>[^/]+)/(?P<path>.+)")
_BOOT = re.compile(
    r"boot/(?P<old>vmlinuz|config)-[^/]+|(?:usr/)?lib/modules/[^/]+/(?P<new>vmlinuz|config)"
)
"""Debian keeps image and configuration in /boot; from 7.x on beside the modules."""


class KernelPackage(KernelSource):
    """A Debian package that has, or depends on what has, a kernel and its modules."""

    type: Literal["package"] = "package"
    package: str = Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")
    suite: str = Field(SUITE, pattern=r"^[a-z][a-z0-9-]*$")

    @property
    def summary(self) -> str:
        return f"{self.package}/{self.suite}"

    def inputs(self, progress: Progress) -> dict[str, str]:
        return {"suite": self.suite, "package": self.package}

    def build(self, directory: Path, progress: Progress) -> dict[str, str]:
        progress("packages")
        package = directory / "package.tar"
        debian.extract([self.package], self.suite, package)
        progress("modules")
        base = directory / "base"
        release = _sort_out(package, directory, base)
        image = directory / "vmlinuz"
        pack(directory, image.read_bytes(), base, release)
        image.unlink()
        package.unlink()
        return {"release": release}

    def build_module(self, name: str, sources: Path, release: str, progress: Progress) -> None:
        # Of the same version: others may have another layout of what modules and kernel share.
        external.by_headers(f"linux-headers-{release}", self.suite, sources, name, progress)

    def symbols(self, release: str, progress: Progress) -> Path:
        return symbols.ensure_package(f"linux-image-{release}-dbg", self.suite, progress)


def _sort_out(package: Path, directory: Path, base: Path) -> str:
    """Unpack kernel and configuration to `directory`, the modules below `base`; the release."""
    releases = set()
    with tarfile.open(package) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            boot, module = _BOOT.fullmatch(name), _MODULE.fullmatch(name)
            if not member.isfile() or not (boot or module):
                continue
            if boot:
                target = directory / (boot["old"] or boot["new"])
            elif module:
                releases.add(module["release"])
                target = base / "lib/modules" / module["release"] / module["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None  # a regular file has content
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file)
    if len(releases) != 1 or not (directory / "vmlinuz").exists():
        raise HostError(f"the package has no kernel with modules: {sorted(releases)}")
    return releases.pop()
