# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules of the lab's own (images/kernel/modules), each compiled for the kernel that loads it.

An artifact of its own, as the initramfs is: a changed module costs no kernel build.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lab import share
from lab.artifacts import cache
from lab.artifacts.cache import Artifact, Progress
from lab.artifacts.kernels import make, names

if TYPE_CHECKING:
    from lab.artifacts.kernel import Kernel

KIND = "module"
FORMAT = 1
"""Part of every module's key; raise it when this module builds differently."""

_LEFT_OUT = "*.left-out"
"""What the compiler said of PART.c, without which Kbuild made the module: the kernel has what it is
for, and not as it expects that."""

_ROOM = 2 << 30
"""Bytes free before a build: headers and a compiler are unpacked for it."""


def ensure_module(name: str, kernel: "Kernel", progress: Progress) -> Path:
    """Return NAME.ko for a kernel, compiling it on first use: half a minute.  Each time `progress`
    is told what was left out of it.

    Raises UsageError where there is nothing to compile it with, HostError and BuildError where that
    fails.
    """
    source = names.resolve(kernel.name)

    def build(directory: Path) -> dict[str, str]:
        sources = directory / name
        shutil.copytree(_sources(name), sources)
        source.build_module(name, sources, kernel.release, progress)
        for file in (sources / f"{name}.ko", *sources.glob(_LEFT_OUT)):
            file.rename(directory / file.name)
        shutil.rmtree(sources)
        return {"kernel": kernel.key, "release": kernel.release}

    inputs = _inputs(name, kernel.key)
    artifact = cache.ensure(
        KIND, name, inputs, build, progress, room=_ROOM, deadline=source.deadline
    )
    for said in sorted(artifact.path.glob(_LEFT_OUT)):
        progress(f"module {name}: {_left_out(said)}")
    return artifact.path / f"{name}.ko"


def _left_out(said: Path) -> str:
    """What a module is without, and the first error of the compiler."""
    lines, _ = make.first_error(said.read_text(errors="replace").splitlines())
    error = next((line for line in lines if "error" in line), "the compiler said nothing")
    return f"without {said.stem}.c, which does not compile for this kernel: {error} (all: {said})"


def of_kernel(key: str) -> Iterator[Artifact]:
    """What ensure_module() would return for the kernel with this key, whether it is there or
    not."""
    for sources in sorted(share.directory("images/kernel/modules").iterdir()):
        yield cache.address(KIND, sources.name, _inputs(sources.name, key))


def _sources(name: str) -> Path:
    return share.directory(f"images/kernel/modules/{name}")


def _inputs(name: str, key: str) -> dict[str, str]:
    files = {file.name: file.read_text() for file in _sources(name).iterdir() if file.is_file()}
    return {**files, "kernel": key, "format": str(FORMAT)}
