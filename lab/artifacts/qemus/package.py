# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU from a package of Debian, of whatever suite, run by its own loader and libraries.

Nothing is installed: the package and all that it depends on are unpacked in the cache.  A C library
of another suite works with the host's kernel, but not with the host's loader, so the launcher
starts the loader of the package (ld.so(8), --library-path) and names firmware and modules.
"""

import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field

from lab.artifacts import cache, debian
from lab.artifacts.cache import Made, Progress
from lab.artifacts.qemus.source import PROGRAM, QemuSource
from lab.errors import HostError
from lab.host import qemu
from lab.host.command import run

SUITE = "trixie"
KIND = "qemu"
FORMAT = 1
"""Part of every key; raise it when this module unpacks differently."""

_ROOM = 1 << 30
_DEADLINE = 300.0
_TRIPLET = "x86_64-linux-gnu"
_LOADER = "ld-linux-x86-64.so.2"
_PRELOADED = "libstdbuf.so"
_USELESS = (
    "dev", "etc", "run", "sys", "proc", "tmp", "var", "sbin", "bin", "usr/sbin", "usr/share/doc",
    "usr/share/man", "usr/share/locale", "usr/share/icons", "usr/share/bash-completion",
)  # fmt: skip
"""What the program never opens."""
NEEDED = ("nvme", "nvme-ns")
"""Device types without which there is nothing to test."""

_LAUNCHER = """\
#!/bin/sh
# QEMU of a Debian package with its own C library, modules and firmware; see docs/qemus.md.
root=${0%/*}/root
# What stdbuf(1) preloads belongs to the host's C library: here is the package's.
[ -z "$LD_PRELOAD" ] || export LD_PRELOAD=PRELOADED
export QEMU_MODULE_DIR="$root/usr/lib/TRIPLET/qemu"
exec "$root/LOADER" --inhibit-cache --library-path "LIBRARIES" \\
    "$root/usr/bin/PROGRAM" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
"""


class QemuPackage(QemuSource):
    """A Debian package that has QEMU's x86 system emulator."""

    type: Literal["package"] = "package"
    package: str = Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")
    suite: str = Field(SUITE, pattern=r"^[a-z][a-z0-9-]*$")
    version: str = Field("", pattern=r"^[A-Za-z0-9.+:~-]*$")
    """Of the package; empty for what the suite has when it is unpacked."""

    @property
    def summary(self) -> str:
        return f"{self.package}/{self.suite}" + (f"={self.version}" if self.version else "")

    @property
    def _inputs(self) -> dict[str, str]:
        return {
            "package": self.package, "suite": self.suite, "version": self.version,
            "format": str(FORMAT), "launcher": _LAUNCHER,
        }  # fmt: skip

    def program(self, progress: Progress) -> Path:
        def build(directory: Path) -> dict[str, str]:
            progress(f"QEMU {self.summary}: packages")
            return {**self._unpack(directory), "source": self.summary}

        name = f"{self.package}-{self.suite}"
        made = cache.ensure(KIND, name, self._inputs, build, progress, room=_ROOM)
        return made.path / PROGRAM

    def made(self) -> list[Made]:
        found = cache.manifests(KIND)
        return [one for one in found if one[1].versions["source"] == self.summary]

    def makes(self, artifact: cache.Artifact) -> bool:
        """Whether it would be unpacked as this artifact."""
        return cache.address(KIND, artifact.name, self._inputs) == artifact

    def _unpack(self, directory: Path) -> dict[str, str]:
        archive, root = directory / "package.tar", directory / "root"
        debian.extract((self.package, "coreutils"), self.suite, archive, version=self.version)
        root.mkdir()
        excluded = [f"--exclude=./{name}" for name in _USELESS]
        words = ["tar", "--extract", f"--file={archive}", f"--directory={root}", "--no-same-owner"]
        run([*words, "--no-same-permissions", *excluded], deadline=_DEADLINE)
        archive.unlink()
        keep_what_runs(root, self.summary)
        launcher = directory / PROGRAM
        launcher.write_text(script(root, self.summary))
        launcher.chmod(0o755)
        return {"version": tried(launcher)}


def tried(program: Path) -> str:
    """The version of a QEMU that starts and has what the lab tests.  Raises HostError."""
    version = qemu.version(str(program))
    for device in NEEDED:
        if not qemu.ask_for_properties(str(program), device):
            raise HostError(
                f"{program}: QEMU {version} has no device {device}",
                hint="use one that was built with NVMe (CONFIG_NVME_PCI)",
            )
    return version


def keep_what_runs(root: Path, what: str) -> None:
    """Remove all programs but the one, and put what stdbuf preloads among the libraries."""
    programs = root / "usr/bin"
    if not (programs / PROGRAM).is_file():
        raise HostError(
            f"{what}: no {PROGRAM} in that package", hint="the package is qemu-system-x86"
        )
    for path in programs.iterdir():
        if path.name != PROGRAM:
            path.unlink()
    library = root / "usr/lib" / _TRIPLET
    for path in root.glob(f"usr/lib*/**/{_PRELOADED}"):
        if path.parent != library:
            shutil.copy(path, library)


def script(root: Path, what: str) -> str:
    """The launcher of what is unpacked in `root`, which lies beside it."""
    loaders = [path for path in root.rglob(_LOADER) if path.is_file() and not path.is_symlink()]
    if not loaders:
        raise HostError(f"{what}: its packages have no {_LOADER}")
    # Before /usr was merged the C library lay below /lib.
    places = [
        place for place in (f"usr/lib/{_TRIPLET}", f"lib/{_TRIPLET}") if (root / place).is_dir()
    ]
    libraries = [f"$root/{place}{sub}" for place in places for sub in _private(root / place)]
    text = _LAUNCHER
    for word, means in (
        ("PRELOADED", _PRELOADED), ("TRIPLET", _TRIPLET), ("PROGRAM", PROGRAM),
        ("LOADER", str(loaders[0].relative_to(root))), ("LIBRARIES", ":".join(libraries)),
    ):  # fmt: skip
        text = text.replace(word, means)
    return text


def _private(library: Path) -> list[str]:
    """A directory of libraries, and those below it that programs reach by an absolute RUNPATH."""
    below = [path.name for path in sorted(library.iterdir()) if (path / ".").is_dir()]
    private = [name for name in below if any((library / name).glob("lib*.so*"))]
    return ["", *(f"/{name}" for name in private)]
