# SPDX-License-Identifier: GPL-2.0-or-later
"""The stepper: freezes a copy at a point, acts on it, and lets it go.

It sets one-shot breakpoints on the events of the fault layer (QEMU block/blkdebug.c) and reads
"Suspended request" from QEMU's stdout, the only place where QEMU says so.  While something is
suspended nothing may drain: the machine is told, and would be killed rather than hang the lab.

    read:k      event read_aio      from `raw`, before the k-th read goes down
    write:k     event pwritev       before the k-th write reaches the write log and the medium
    written:k   event pwritev_done  after it has, before anybody is told

An error is chosen while the copy is frozen: the rules wait for the event flush_to_os, which a
flush from the monitor raises; it arms them, and the request that is released next fails.
"""

import errno
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import HostError, KernelHang
from lab.faults.model import Point, Stage
from lab.host.patience import Patience
from lab.vm.graph import Drive, Rule
from lab.vm.machine import Machine
from lab.vm.start import STDOUT

ARMING_EVENT = "flush_to_os"
EVENTS = {Stage.READ: "read_aio", Stage.WRITE: "pwritev", Stage.WRITTEN: "pwritev_done"}
"""The event of blkdebug at which each stage is held."""
_POLL = 0.001


@dataclass(frozen=True)
class Fault:
    """What the fault layer needs for an action at a point, and when the point is there.

    `fragment`: bytes to which requests are cut, 0 for not at all.  `nth`: the point is the nth
    occurrence of its event, since every fragment raises the event once.  `more`: further options
    of blkdebug; `held` is False if by them a request fails without being held.  `arming`: the
    qemu-io commands that arm the error of a held request.
    """

    rules: tuple[Rule, ...] = ()
    fragment: int = 0
    nth: int = 1
    more: Mapping[str, object] | None = None
    held: bool = True
    arming: tuple[str, ...] = ("flush",)


def counting(point: Point, error: int = errno.EIO) -> dict[str, object]:
    """Options of blkdebug with which the request at a point `read:k` or `write:k`, and no other,
    fails unheld: rules that count its event by states, which start at 1 (QEMU block/blkdebug.c).
    """
    event = EVENTS[point.stage]
    steps = [{"event": event, "state": at, "new_state": at + 1} for at in range(1, point.k + 1)]
    # "once" is for one time that its event comes in its state: the last step leaves that.
    rule = {
        "event": event, "state": point.k, "iotype": point.stage.value, "errno": error, "once": True,
    }  # fmt: skip
    return {"set-state": steps, "inject-error": [rule]}


class NotReached(HostError):
    """The copy ended before it came to the point."""


Bystanding = Callable[[Stage], bool]
"""Whether the request that was held since is none of the copy's."""


def _nobody_else() -> Bystanding:
    return lambda _: False


class Stepper:
    """Freezes the copy that runs on some drives, all I/O of which is one order: that in which QEMU
    suspends it.  `ended` tells whether the copy has ended.

    `watch` begins to observe the drives, whenever a breakpoint is set, and gives what tells of the
    request that is held there whether it is none of the copy's: such a one is let go.
    """

    def __init__(
        self,
        machine: Machine,
        drives: Sequence[Drive],
        ended: Callable[[], bool],
        watch: Callable[[], Bystanding] = _nobody_else,
    ) -> None:
        self._machine = machine
        self._ended = ended
        self._tags = 0
        self._armed = dict.fromkeys(drives, "")
        """The breakpoint that is set on each drive."""
        self._held = drives[0]
        """The drive whose request was suspended first since; or that which the lab asks."""
        self._watch = watch
        self._bystanding = _nobody_else()
        self._stdout = Stdout(machine.directory / STDOUT)

    def arm(self, point: Point) -> None:
        """Set the breakpoints at which the copy will stop first; call it before the copy starts."""
        for drive in self._armed:
            self._break(drive, point)

    def hold(self, point: Point, nth: int, deadline: float) -> None:
        """Step through the copy until it is frozen at `point`, the `nth` event of its kind.

        Raises NotReached when the copy ends first, KernelHang when it does neither in time.
        """
        for count in range(1, nth + 1):
            self._await_suspension(point, deadline)
            if count < nth:
                self._pass(point)

    def advance(self, point: Point, deadline: float) -> None:
        """Let the held request go, and freeze the copy at the next event of a point's kind."""
        self._pass(point)
        self._await_suspension(point, deadline)

    def inject(self, arming: Iterable[str] = ("flush",)) -> None:
        """Arm the fault layer's rules: the held request fails when it is released."""
        for command in arming:
            self._machine.qemu_io(self._held.qdev, command)

    def release(self) -> None:
        """Let the held request go, and whatever else has come to its breakpoint meanwhile."""
        self._disarm(drive for drive in self._armed if drive != self._held)
        self._machine.holding = False
        self._resume(self._held)

    def disarm(self) -> None:
        """Take the breakpoints away that nothing came to; what came to them meanwhile goes on (QEMU
        block/blkdebug.c, blkdebug_debug_remove_breakpoint)."""
        self._disarm(self._armed)
        self._machine.holding = False

    def _disarm(self, drives: Iterable[Drive]) -> None:
        for drive in drives:
            self._machine.qemu_io(drive.qdev, f"remove_break {self._armed[drive]}")

    def _break(self, drive: Drive, point: Point) -> None:
        self._tags += 1
        self._bystanding = self._watch()
        self._armed[drive] = f"{drive.id}-{self._tags}"
        self._machine.qemu_io(drive.qdev, f"break {EVENTS[point.stage]} {self._armed[drive]}")

    def _pass(self, point: Point) -> None:
        """Let the held request go, to hold the next."""
        drive = self._held
        released = self._armed[drive]
        # Armed before the release: the next event cannot slip through.
        self._break(drive, point)
        self._machine.qemu_io(drive.qdev, f"resume {released}")

    def _resume(self, drive: Drive) -> None:
        self._machine.qemu_io(drive.qdev, f"resume {self._armed[drive]}")

    def _await_suspension(self, point: Point, deadline: float) -> None:
        self._await_any(point, deadline)
        # What is written is known by its completion only; who asked for that may be long past.
        while point.stage is not Stage.WRITTEN and self._bystanding(point.stage):
            self._pass(point)
            self._await_any(point, deadline)

    def _await_any(self, point: Point, deadline: float) -> None:
        patience = Patience(self._machine.process, deadline)
        while not (first := self._first()):
            if not self._machine.alive():
                raise self._machine.died()
            if self._ended():
                raise NotReached(f"the copy ended before it came to {point}")
            if patience.over():
                raise KernelHang(f"the copy came neither to {point} nor to an end in {patience}")
            time.sleep(_POLL)
        self._held = first
        self._machine.holding = True

    def _first(self) -> Drive | None:
        """The drive whose request was suspended first, of those that are."""
        said = self._stdout.new_text()
        places = {
            drive: said.find(f"Suspended request '{tag}'") for drive, tag in self._armed.items()
        }
        found = [drive for drive, place in places.items() if place >= 0]
        return min(found, key=lambda drive: places[drive], default=None)


class Stdout:
    """What QEMU has printed since this object was made."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r", errors="replace")
        self._file.seek(0, 2)
        self._text = ""

    def new_text(self) -> str:
        """All text since the beginning of the observation."""
        self._text += self._file.read()
        return self._text
