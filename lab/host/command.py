"""The one gateway to other programs on the host: argv lists, deadlines, errors that speak."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import HostError

DETAIL_LINES = 15


def tail(text: str, lines: int = DETAIL_LINES) -> str:
    """The last `lines` lines of what a program said."""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def run(
    argv: Sequence[str | Path],
    *,
    deadline: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    hint: str = "",
) -> str:
    """Run `argv` to its end and return its stdout.

    `deadline` is in seconds.  Raises HostError with the command, its exit status and the end of
    its stderr when the program is missing, fails, or overruns the deadline (it is killed then).
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline,
            cwd=cwd,
            env=env,
            check=False,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise HostError(f"{cwd}: no such directory") from error
        raise missing(words[0]) from error
    except PermissionError as error:
        raise HostError(f"{words[0]}: {error.strerror}", hint="check its permissions") from error
    except subprocess.TimeoutExpired as error:
        said = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else ""
        raise HostError(
            f"no end after {deadline:.0f} s: {shlex.join(words)}", detail=tail(said), hint=hint
        ) from error
    if done.returncode != 0:
        raise HostError(
            f"exit status {done.returncode}: {shlex.join(words)}",
            detail=tail(done.stderr or done.stdout),
            hint=hint,
        )
    return done.stdout


PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mkfs.erofs": "erofs-utils",
    "depmod": "kmod",
    "ssh": "openssh-client",
}
"""Debian and Ubuntu package of each program the lab calls."""


def missing(program: str) -> HostError:
    """The HostError for a program that is not installed, with the package that has it."""
    package = PACKAGES.get(program, program)
    return HostError(
        f"{program}: not found", hint=f"run `make setup`, or: sudo apt-get install {package}"
    )
