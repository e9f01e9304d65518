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
from lab.artifacts.kernels import names

if TYPE_CHECKING:
    from lab.artifacts.kernel import Kernel

KIND = "module"
FORMAT = 1
"""Part of every module's key; raise it when this module builds differently."""

_ROOM = 2 << 30
"""Bytes free before a build: headers and a compiler are unpacked for it."""


def ensure_module(name: str, kernel: "Kernel", progress: Progress) -> Path:
    """Return NAME.ko for a kernel, compiling it on first use: half a minute.

    Raises UsageError where there is nothing to compile it with, HostError and BuildError where that
    fails.
    """
    source = names.resolve(kernel.name)

    def build(directory: Path) -> dict[str, str]:
        sources = directory / name
        shutil.copytree(_sources(name), sources)
        source.build_module(name, sources, kernel.release, progress)
        (sources / f"{name}.ko").rename(directory / f"{name}.ko")
        shutil.rmtree(sources)
        return {"kernel": kernel.key, "release": kernel.release}

    inputs = _inputs(name, kernel.key)
    artifact = cache.ensure(
        KIND, name, inputs, build, progress, room=_ROOM, deadline=source.deadline
    )
    return artifact.path / f"{name}.ko"


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
