# SPDX-License-Identifier: GPL-2.0-or-later
"""All checks, in turn, each with its deadline; none keeps the others from being made."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from lab.doctor import emulator, leftovers, room, tools
from lab.doctor.finding import Finding, State, degraded, failed
from lab.errors import LabError


@dataclass(frozen=True)
class Check:
    """A thing that is tried; `needs` names the one without which it cannot be."""

    name: str
    run: Callable[[], Finding]
    broken: State
    """What the host is called where the lab's own words for it are an error."""
    needs: str = ""
    deadline: float = 60.0
    """Seconds."""


@dataclass(frozen=True)
class Line:
    """A check with its finding, and the seconds that it took."""

    name: str
    finding: Finding
    seconds: float


QEMU, KVM = "QEMU", "KVM"

LEFT = ("dead guests", "old artifacts")
"""The checks that look for what can be cleaned up."""

CHECKS = (
    Check("host", room.system, State.DEGRADED),
    Check("lab", room.python, State.DEGRADED),
    Check("settings", room.configuration, State.DEGRADED),
    Check(QEMU, emulator.program, State.MISSING),
    Check("devices", emulator.devices, State.MISSING, QEMU),
    Check("device features", emulator.features, State.DEGRADED, QEMU),
    Check("faults", emulator.faults, State.MISSING, QEMU),
    Check("Landlock", emulator.landlock, State.DEGRADED),
    Check("memory of QEMU", emulator.memory, State.DEGRADED),
    Check(KVM, emulator.accelerator, State.DEGRADED, QEMU),
    Check("vhost-vsock", emulator.vsock, State.DEGRADED),
    Check("other QEMUs", emulator.others, State.DEGRADED),
    Check("mmdebstrap", tools.mmdebstrap, State.MISSING),
    Check("Debian's keys", tools.keys, State.DEGRADED),
    Check("namespaces", tools.namespaces, State.MISSING),
    Check("erofs", tools.erofs_tools, State.MISSING),
    Check("depmod", tools.depmod, State.MISSING),
    Check("ssh", tools.ssh, State.DEGRADED),
    Check("programs", tools.small_programs, State.MISSING),
    Check("compiler", tools.compiler, State.DEGRADED),
    Check("sandbox", tools.sandbox, State.DEGRADED),
    Check("memory", room.memory, State.DEGRADED),
    Check("disk", room.disk, State.MISSING),
    Check("checkpoints", leftovers.checkpoints, State.DEGRADED),
    Check("dead guests", leftovers.guests, State.DEGRADED),
    # Sources of kernels are looked through, which may be many files on a slow disk.
    Check("old artifacts", leftovers.artifacts, State.DEGRADED, deadline=180.0),
)


def examine(on_check: Callable[[str], None], checks: Sequence[Check] = CHECKS) -> Iterator[Line]:
    """Make the checks; `on_check` is told the name of each before it is made."""
    found: dict[str, State] = {}
    for check in checks:
        on_check(check.name)
        start = time.monotonic()
        if found.get(check.needs, State.OK) is State.MISSING:
            finding = Finding(State.MISSING, f"not tried: no {check.needs}")
        else:
            finding = _made(check)
        found[check.name] = finding.state
        yield Line(check.name, finding, round(time.monotonic() - start, 3))


class _Late(BaseException):
    """The deadline of a check has passed.  No Exception: nothing on the way may take it for its
    own, and all of it cleans up."""


def _made(check: Check) -> Finding:
    try:
        with _deadline(check.deadline):
            return check.run()
    except LabError as error:
        return failed(error, check.broken)
    except _Late:
        return degraded(f"no answer within {check.deadline:g} s", "")
    except Exception as error:
        # Whatever it is, the other lines are still wanted.
        return degraded(f"the check broke: {type(error).__name__}: {error}", "")


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise _Late in the main thread when the seconds are over, whatever it does then."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
