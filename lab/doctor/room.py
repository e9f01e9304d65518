# SPDX-License-Identifier: GPL-2.0-or-later
"""The host itself: what it is, its memory, its room on disk, the lab's own settings.

Functions that read /proc or /sys take the root of the file system, so that tests can show them
another host.
"""

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from lab import __version__
from lab.artifacts import image
from lab.artifacts.kernels.source import readable
from lab.doctor.finding import Finding, State, degraded, failed, ok
from lab.errors import LabError
from lab.host import burden, cures, dirs, settings
from lab.profile.models import MachineSettings

HOST = Path("/")
_DISTRIBUTION = "copy-offload-lab"
_GUEST = MachineSettings.model_fields["memory"].default
"""Bytes of memory of a guest, unless its profile says otherwise."""
_BESIDE = 256 << 20
"""Bytes that its QEMU takes besides."""
_RUN = 1 << 30
"""Bytes of disk for the media and the evidence of a run."""
_MACHINE = "x86_64"
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def system() -> Finding:
    """Distribution, kernel and processors."""
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    kernel, processors = platform.release(), len(os.sched_getaffinity(0))
    versions = {"host": name, "kernel": kernel}
    said = f"{name or 'unknown distribution'}, Linux {kernel}, {processors} processors"
    if platform.machine() != _MACHINE:
        cure = f"run the lab on a {_MACHINE} host"
        return degraded(f"{said}; {platform.machine()} can only emulate guests", cure, versions)
    if cures.this() is None:
        return ok(f"{said}; commands for it are not known", versions)
    return ok(said, versions)


def python() -> Finding:
    """The lab itself, Python and the packages that the lab is built on."""
    versions, absent = {"lab": __version__, "Python": platform.python_version()}, []
    for name in _requirements():
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            absent.append(name)
    said = f"lab {__version__}, Python {platform.python_version()}"
    if absent:
        cure = f"{sys.executable} -m pip install {' '.join(absent)}"
        return degraded(f"{said}, without {', '.join(absent)}", cure, versions)
    return ok(f"{said}, {len(versions) - 2} packages", versions)


def _requirements() -> list[str]:
    """The names of the packages that the lab cannot do without (PEP 508)."""
    needed = [one for one in metadata.requires(_DISTRIBUTION) or [] if "extra ==" not in one]
    return [found[0] for found in map(_PACKAGE.match, needed) if found]


def memory(root: Path = HOST) -> Finding:
    """Room for a guest in memory, and in what this process's control groups allow."""
    free = burden.available_memory(root)
    said = f"{_bytes(free)} available; a guest takes {_bytes(_GUEST)} by default"
    if free < _GUEST + _BESIDE:
        return degraded(said, "end other guests (lab ls), or --set machine.memory=512M")
    return ok(said)


def disk() -> Finding:
    """Room in the directories that the lab writes to."""
    places: list[tuple[str, Callable[[], Path], int]] = [
        ("XDG_CACHE_HOME", dirs.cache, image.ROOM),
        ("XDG_STATE_HOME", dirs.state, _RUN),
        ("TMPDIR", lambda: Path(tempfile.gettempdir()), image.ROOM),
    ]
    told: dict[int, list[str]] = {}
    for variable, directory, wanted in places:
        try:
            place = directory()
        except LabError as error:
            return failed(error, State.MISSING)
        free = shutil.disk_usage(place).free
        if free < wanted:
            return degraded(
                f"{readable(place)}: {_bytes(free)} free, {_bytes(wanted)} wanted",
                f"free some space there (lab doctor --clean), or set {variable}",
            )
        told.setdefault(free, []).append(readable(place))
    return ok("; ".join(f"{_bytes(free)} in {', '.join(names)}" for free, names in told.items()))


def configuration() -> Finding:
    """The user's own settings."""
    try:
        settings.load()
    except LabError as error:
        return degraded(error.message, error.hint or "correct that file")
    path = dirs.config(settings.FILE)
    return ok(readable(path) if path.exists() else f"none: no {readable(path)}")


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
