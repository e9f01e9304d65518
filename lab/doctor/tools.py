# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that build images and kernels, and reach guests."""

import os
import re
from dataclasses import replace

from lab.artifacts import debian, enter, erofs, modules
from lab.artifacts.kernels import make
from lab.doctor.finding import Finding, State, degraded, failed, missing, ok
from lab.errors import LabError
from lab.host import confine
from lab.host.command import found, run
from lab.host.cures import USER_NAMESPACES, install
from lab.host.scratch import scratch

_DEADLINE = 20.0
_RELEASE = "6.12.0"
"""Of a kernel without any modules."""

_VERSION = re.compile(r"\d+(?:\.\d+)*[\w.+~-]*")

_EVERYWHERE = ("git", "lz4", "rsync", "stdbuf", "tar", "unshare", "zstd")
"""Programs of small steps, which nearly every host has."""


def _lacking(*programs: str) -> list[str]:
    return [program for program in programs if found(program) is None]


def _not_found(programs: list[str]) -> str:
    return f"{', '.join(programs)}: not found"


def _version(*argv: str) -> str:
    """The version in what a program says of itself; `?` where it says none."""
    try:
        # OpenSSH says it on stderr.
        program = found(argv[0]) or argv[0]
        said = run(["sh", "-c", 'exec "$@" 2>&1', "sh", program, *argv[1:]], deadline=_DEADLINE)
    except LabError:
        return "?"
    number = _VERSION.search(said)
    return number[0] if number else "?"


def mmdebstrap() -> Finding:
    """What unpacks Debian's packages, for images, kernels and QEMUs."""
    if lacking := _lacking("mmdebstrap", "apt-get"):
        return missing(_not_found(lacking), install(*lacking))
    versions = {"mmdebstrap": _version("mmdebstrap", "--version"),
                "apt": _version("apt-get", "--version")}  # fmt: skip
    return ok(f"{versions['mmdebstrap']}, apt {versions['apt']}", versions)


def keys() -> Finding:
    """Debian's keys, by which its packages are checked."""
    if debian.KEYRING.exists():
        return ok(str(debian.KEYRING))
    return degraded(f"no {debian.KEYRING}; apt's own keys must do", install(debian.KEYRING.name))


def namespaces() -> Finding:
    """The namespaces in which packages are unpacked and images entered."""
    if lacking := _lacking("unshare", *(["newuidmap"] if os.getuid() else [])):
        return missing(_not_found(lacking), install(*lacking))
    try:
        if os.getuid():
            debian.check_sub_ids()
    except LabError as error:
        return failed(error, State.MISSING)
    try:
        enter.namespaces()
    except LabError as error:
        finding = failed(error, State.MISSING)
        return replace(finding, cure=USER_NAMESPACES) if os.getuid() else finding
    return ok("root has them" if os.getuid() == 0 else "an ordinary user has them")


def erofs_tools() -> Finding:
    """What makes the file systems of images, and looks into them."""
    if lacking := _lacking("mkfs.erofs", "dump.erofs", "fsck.erofs"):
        return missing(_not_found(lacking), install(*lacking))
    with scratch() as place:
        source, image = place / "source", place / "image"
        source.mkdir()
        (source / "file").write_text("text\n" * 5000)
        try:
            erofs.pack(source, image, leave_out="^none$")
            names = erofs.names(image, "/")
            run(["fsck.erofs", f"--extract={place}/out", image], deadline=_DEADLINE)
        except LabError as error:
            return failed(error, State.MISSING)
        if "file" not in names or not (place / "out/file").exists():
            return missing("mkfs.erofs made an image without its file", install("mkfs.erofs"))
    version = _version("dump.erofs", "-V")
    return ok(f"{version}, with lz4", {"erofs-utils": version})


def depmod() -> Finding:
    """What indexes the modules of kernels."""
    if lacking := _lacking("depmod"):
        return missing(_not_found(lacking), install(*lacking))
    with scratch() as place:
        (place / "lib/modules" / _RELEASE).mkdir(parents=True)
        try:
            modules.index(place, _RELEASE)
        except LabError as error:
            return failed(error, State.MISSING)
    version = _version("depmod", "--version")
    return ok(version, {"kmod": version})


def ssh() -> Finding:
    """What takes a person into a guest."""
    if lacking := _lacking("ssh"):
        # All but a person do with the lab's own client.
        return degraded(_not_found(lacking), install(*lacking))
    version = _version("ssh", "-V")
    return ok(f"OpenSSH {version}", {"OpenSSH": version})


def small_programs() -> Finding:
    """What the lab calls for small steps."""
    if lacking := _lacking(*_EVERYWHERE):
        return missing(_not_found(lacking), install(*lacking))
    return ok(", ".join(_EVERYWHERE), {"git": _version("git", "--version")})


def sandbox() -> Finding:
    """What keeps the Makefiles of patches in their directories."""
    if why_not := confine.why_not():
        return degraded(
            f"kernels are built outside of a sandbox: {why_not}", install(confine.PROGRAM)
        )
    version = _version(confine.PROGRAM, "--version")
    return ok(f"bubblewrap {version}", {"bubblewrap": version})


def compiler() -> Finding:
    """What builds kernels from sources; those of packages and trees do without."""
    if lacking := make.lacking():
        return degraded(f"kernels from sources: {_not_found(lacking)}", install(*lacking))
    version = make.compiler()
    return ok(version, {"gcc": version})
