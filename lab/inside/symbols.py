# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the debugging information of a guest's kernel is."""

from collections.abc import Callable
from pathlib import Path

from lab.artifacts import symbols
from lab.artifacts.kernels import names
from lab.artifacts.kernels.package import KernelPackage
from lab.errors import LabError, UsageError

Progress = Callable[[str], None]


def find(reference: str, release: str, progress: Progress, given: Path | None = None) -> Path:
    """The directory with the debugging information of the kernel that `reference` means, of that
    release; `given` is what the user says it is.  A package of Debian's is fetched, if it must be.

    Raises UsageError where there is none, and HostError where it cannot be had.
    """
    if given:
        if not given.exists():
            raise UsageError(f"{given}: no such directory")
        return given
    return names.resolve(reference).symbols(release, progress)


def at_hand(reference: str, release: str) -> Path | None:
    """The same, where nothing has to be fetched for it; None otherwise."""
    try:
        source = names.resolve(reference)
        if isinstance(source, KernelPackage):
            return symbols.fetched(f"linux-image-{release}-dbg", source.suite)
        found = source.symbols(release, lambda _: None)
    except LabError:
        return None
    return found if (found / "vmlinux").is_file() else None
