# SPDX-License-Identifier: GPL-2.0-or-later
"""A module outside of a kernel's tree, compiled for that kernel (Documentation/kbuild/modules.rst
of the kernel): against the tree in which it was built, or against a distribution's headers.

The sources lie in a directory, and the module comes to lie beside them.
"""

import shlex
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from lab.artifacts import debian
from lab.artifacts.cache import Progress
from lab.artifacts.kernels import make
from lab.errors import BuildError
from lab.host.command import found, missing, run

DEADLINE = 600.0
"""Seconds for one module of some hundred lines; a slow host, not a hung one."""

_LOG, _STATUS = "build.log", "build.status"

_TOOLS = (
    "make", "dash", "coreutils", "grep", "sed", "mawk", "diffutils", "findutils", "binutils",
    "base-files",
)  # fmt: skip
"""What kbuild calls.  The compiler that made the kernel comes with its headers."""


def by_tree(tree: Path, sources: Path, name: str, progress: Progress) -> None:
    """Make `name`.ko of `sources` by the build directory of a kernel, or its headers, with the
    host's compiler.  Raises LackError, and BuildError with the compiler's first error."""
    for program in ("make", "gcc", "ld", "strip"):
        if found(program) is None:
            raise missing(program)
    progress(f"module {name}: compile")
    log = deque[str](maxlen=2000)
    words = ["-C", str(tree), f"M={sources}", "modules"]
    status = make.goal(words, log.append, DEADLINE, sources, readable=[tree])
    _check(name, status, list(log), sources)
    run(["strip", "--strip-debug", sources / f"{name}.ko"], deadline=60)


def by_headers(headers: str, suite: str, sources: Path, name: str, progress: Progress) -> None:
    """Make `name`.ko of `sources` by Debian's package `headers`, with the compiler that this
    depends on: nothing of the host's is used, and no root is needed.

    Raises HostError where the suite does not have that package, and BuildError as by_tree().
    """
    progress(f"module {name}: {headers}")
    place = f"/tmp/{sources.name}"
    log, status = sources / _LOG, sources / _STATUS
    hooks = [
        # In packages that are unpacked and not configured, nobody has made this link.
        'ln -sf mawk "$1/usr/bin/awk"',
        f"copy-in {shlex.quote(str(sources))} /tmp",
        f'chroot "$1" sh -c {shlex.quote(_script(headers, place, name))}',
        f"copy-out {place} {shlex.quote(str(sources.parent))}",
    ]
    debian.extract([headers, *_TOOLS], suite, None, hooks=hooks)
    _check(name, int(status.read_text()), log.read_text().splitlines(), sources)


def _script(headers: str, place: str, name: str) -> str:
    """What is done in the unpacked packages.  It ends well in any case: what came of it is in the
    log, which mmdebstrap would bury."""
    words = [
        "make", "-C", f"/usr/src/{headers}", f"M={place}", "modules", "DEB_BUILD_ARCH=amd64",
        "CONFIG_DEBUG_INFO_BTF_MODULES=",
    ]  # fmt: skip
    compiled = f"LC_ALL=C {shlex.join(words)} && strip --strip-debug {place}/{name}.ko"
    return f"{{ {compiled}; }} >{place}/{_LOG} 2>&1; echo $? >{place}/{_STATUS}"


def _check(name: str, status: int, log: Sequence[str], sources: Path) -> None:
    """Raise BuildError unless the module is there."""
    if status == 0 and (sources / f"{name}.ko").is_file():
        return
    lines, file = make.first_error(log)
    where = f": {Path(file).name}" if file else ""
    raise BuildError(
        f"the module {name} does not build for this kernel{where}", detail="\n".join(lines)
    )
