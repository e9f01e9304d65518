# SPDX-License-Identifier: GPL-2.0-or-later
"""Debugging information of a distribution's kernels: its package, unpacked in the cache.

It is large, so that it is fetched when somebody looks into a kernel and not before, and of its
modules only those stay that have to do with storage.
"""

import shlex
from pathlib import Path

from lab.artifacts import cache, debian
from lab.artifacts.cache import Progress
from lab.errors import HostError

KIND = "symbols"
FORMAT = 1
"""Part of every key; raise it when this module keeps something else."""

_ROOM = 8 << 30
"""Bytes: the package is unpacked as a whole first."""
_DEADLINE = 3600.0
"""Seconds; it takes 240 on two cores that have little else to do."""
_DEBUG = "/usr/lib/debug"
_MODULES = (
    "arch", "block", "crypto", "fs", "lib", "mm", "net/sunrpc", "drivers/ata", "drivers/block",
    "drivers/dax", "drivers/md", "drivers/net/virtio_net.ko", "drivers/net/net_failover.ko",
    "drivers/nvdimm", "drivers/nvme", "drivers/scsi", "drivers/target", "drivers/virtio",
    "net/core",
)  # fmt: skip
"""Below a kernel's directory of modules, what is kept."""


def ensure_package(package: str, suite: str, progress: Progress) -> Path:
    """What the package `linux-image-RELEASE-dbg` of a suite has, laid out as in /usr/lib/debug.

    Raises HostError where the suite has it no longer, or it cannot be fetched.
    """

    def build(directory: Path) -> dict[str, str]:
        progress(f"symbols: fetch {package}, of a gigabyte; it takes minutes")
        hooks = [_kept(), f"copy-out {_DEBUG} {shlex.quote(str(directory))}"]
        debian.extract([package], suite, None, hooks=hooks, deadline=_DEADLINE)
        if not list((directory / "debug").glob("boot/vmlinux-*")):
            raise HostError(f"package {package} of {suite} has no vmlinux in {_DEBUG}/boot")
        return {"package": package, "suite": suite}

    made = cache.ensure(
        KIND, package, _inputs(package, suite), build, progress, room=_ROOM,
        # Another artifact may have the same package fetched first.
        deadline=2 * _DEADLINE,
    )  # fmt: skip
    return made.path / "debug"


def fetched(package: str, suite: str) -> Path | None:
    """The same if it was fetched before; None if not."""
    made = cache.address(KIND, package, _inputs(package, suite))
    return made.path / "debug" if cache.use(made) else None


def _inputs(package: str, suite: str) -> dict[str, str]:
    return {"package": package, "suite": suite, "format": str(FORMAT)}


def _kept() -> str:
    """The hook that removes the modules that are not kept."""
    wanted = " ".join(f"! -path './*/kernel/{each}*'" for each in _MODULES)
    return f"cd \"$1{_DEBUG}/lib/modules\" && find . -name '*.ko' {wanted} -delete"
