# SPDX-License-Identifier: GPL-2.0-or-later
"""A sandbox for programs that others wrote, such as the Makefiles of a patched kernel: bubblewrap.

Nothing can be written in it but what is named, there is no network, no capability and no process
but its own, and all of it ends with whoever started it.  What can be read is not less.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from lab.errors import HostError
from lab.host.command import found, run

PROGRAM = "bwrap"

_DEADLINE = 20.0

_WALLS = (
    "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
    "--unshare-user-try", "--unshare-ipc", "--unshare-net", "--unshare-pid", "--unshare-uts",
    "--cap-drop", "ALL", "--die-with-parent", "--new-session",
    # Where it may write for a while is here alone.
    "--setenv", "TMPDIR", "/tmp", "--setenv", "CCACHE_TEMPDIR", "/tmp",
)  # fmt: skip


def confined(
    argv: Sequence[str], writable: Iterable[Path], readable: Iterable[Path] = ()
) -> list[str]:
    """The command line that runs `argv` in the sandbox, where this host has one, and else `argv`.

    Directories that are `writable` must be there; those that are `readable` are named since they
    may lie where the sandbox has nothing, below /tmp.
    """
    if why_not():
        return list(argv)
    walls = list(_WALLS)
    for option, directories in (("--ro-bind", readable), ("--bind", writable)):
        for directory in directories:
            walls += [option, str(directory), str(directory)]
    return [PROGRAM, *walls, "--", *argv]


@cache
def why_not() -> str:
    """Why this host has no sandbox, found by trying; '' where it has."""
    if found(PROGRAM) is None:
        return f"{PROGRAM}: not found"
    try:
        run([PROGRAM, *_WALLS, "--", "true"], deadline=_DEADLINE)
    except HostError as error:
        return f"{PROGRAM}: {error.detail.splitlines()[-1] if error.detail else error.message}"
    return ""
