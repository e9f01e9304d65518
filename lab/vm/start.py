# SPDX-License-Identifier: GPL-2.0-or-later
"""The start of a QEMU: its supervisor, the wait for its pid file, and what to say if it ends."""

import contextlib
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from lab.errors import HostError, LackError, TooSlow
from lab.host.command import missing
from lab.host.patience import Patience
from lab.host.process import Brood, Process
from lab.vm.argv import PID_FILE
from lab.vm.ending import STDERR, ending, said

SUPERVISOR = Path(__file__).with_name("supervise.sh")
STDOUT = "qemu.out"
DEADLINE = 20.0
"""Seconds of a processor that QEMU may take to begin."""

_NO_PROGRAM = ("stdbuf: failed to run command", "setpriv: failed to execute",
               "prlimit: failed to execute")  # fmt: skip

_CURES = {
    "is not a valid device model name": "this QEMU lacks a device the profile needs: "
    "install the distribution's qemu-system-x86, or name another with LAB_QEMU",
    "No space left on device": "free space on the file system of the state directory",
    "Sanitizer": "set LAB_BOUND=no: a QEMU that looks for faults of its own needs terabytes",
    "Cannot allocate memory": "give the profile less memory, or end other guests (lab ls)",
    "kvm": "set LAB_ACCEL=tcg",
}
"""What to do, by what QEMU said."""


class LateStart(HostError, TooSlow):
    """A QEMU that did not begin in time."""


def supervised(directory: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """The supervisor of a QEMU, in a session of its own.  Raises HostError."""
    # What is suspended is read from stdout, how QEMU crashed from stderr: they must hold the words
    # of this QEMU alone.
    with (directory / STDOUT).open("wb") as out, (directory / STDERR).open("wb") as err:
        try:
            return subprocess.Popen(
                [str(SUPERVISOR), *words],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            raise HostError(f"{SUPERVISOR}: {error.strerror}") from error


def await_pid(directory: Path, supervisor: subprocess.Popen[bytes], qemu: str) -> Process:
    """The QEMU that a supervisor starts, once its pid file is there.  Raises HostError with its
    words when it ends instead, LateStart when it takes too long."""
    # The supervisor, what puts up the walls, and QEMU.
    patience = Patience(Brood(supervisor.pid), DEADLINE)
    while not patience.over():
        with contextlib.suppress(FileNotFoundError, ValueError):
            process = Process.of(int((directory / PID_FILE).read_text()))
            if process:
                return process
        if supervisor.poll() is not None:
            raise launch_error(directory, qemu)
        time.sleep(0.005)
    raise LateStart(f"{qemu} wrote no pid file within {patience}", detail=said(directory))


def launch_error(directory: Path, qemu: str) -> HostError:
    """The error for a QEMU that ended at its start, with its words and what to do about them."""
    words = said(directory)
    if any(each in words for each in _NO_PROGRAM):
        return missing(qemu)
    hint = next((cure for sign, cure in _CURES.items() if sign in words), "")
    kind = LackError if hint else HostError
    return kind(f"QEMU {ending(directory)} at start", detail=words, hint=hint)
