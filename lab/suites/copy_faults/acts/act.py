# SPDX-License-Identifier: GPL-2.0-or-later
"""An act: how the suite carries an action out.

A new action is one Act, in registry.py or an entry point of a package, and one function that does
to the held copy what the action says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.copy.contract import Aftermath
from lab.copy.model import Copy
from lab.crash.writelog import LogEntry
from lab.faults.actions import Action
from lab.faults.model import Point
from lab.faults.stepper import Fault
from lab.suites.copy_faults import fault
from lab.suites.copy_faults.acts.scene import Effect, Scene
from lab.suites.copy_faults.fault import Strike

Survivors = Callable[[Copy, Point, list[LogEntry]], Sequence[LogEntry]]
"""Those of the logged writes that outlive the power, whole blocks in the order of the log."""


@dataclass(frozen=True)
class Need:
    """What an act needs of the guest's kernel: a script that fails without it, given the node of
    the layer that the action strikes, and what the kernel lacks then, in words."""

    trial: str
    cure: str


@dataclass(frozen=True)
class Act:
    """An action and how it is carried out.

    `do`: what is done to the copy while it is held; what can only be done or seen once it goes on
    is the Effect's `after`.  None where it is only held, or the guest just ended.  `errno`: what
    the medium answers with at the point (values of asm-generic/errno), 0 for no error; other errors
    would add nothing: QEMU's NVMe controller makes the same status of each of them.
    """

    action: Action
    do: Callable[[Scene], Effect] | None = None
    aftermath: Aftermath = Aftermath.LIVE
    """What it leaves of the guest, once the point is reached."""
    disturbs: str = ""
    """What may make the copy fail although the medium returns no error."""
    request: Mapping[str, object] = field(default_factory=dict)
    """What the executor is asked for besides the copy."""
    errno: int = 0
    fault: Callable[[Strike], Fault] = fault.hold
    """What it asks of the fault layer."""
    hold: float = 0.0
    """Seconds for which a rate limit holds the request by itself; 0: until it is taken away."""
    survivors: Survivors | None = None
    """The power is cut: the medium is rebuilt from the write log, of which these are left."""
    fails_on: bool = False
    """Something below fails, though not the medium: what a file system reports after that need not
    be on the medium."""
    provokes: str = ""
    """A word in what the kernel must complain of, since the act is that."""
    need: Need | None = None
    allocation: str = ""
    """The kind of allocation of the copying task of which one fails, as the kernel's fault
    injection calls it."""
    in_guest: bool = False
    """The guest does it, although it strikes no layer."""
    swept: bool = False
    """Part of a sweep that names no actions; the others cost a boot for each case, or seconds and
    perhaps a boot, or do much the same."""

    @property
    def name(self) -> str:
        """The action's."""
        return self.action.name

    @property
    def from_host(self) -> bool:
        """It is done over QMP or to the medium, and needs nothing of the guest."""
        return not (self.action.undisturbed or self.action.layer or self.in_guest)

    @property
    def harms(self) -> bool:
        """Something is done to the copy, beyond holding it and letting it go."""
        return self.do is not None or bool(self.errno or self.allocation) or self.action.ends_guest

    def unprovoked(self, complaints: Sequence[str]) -> tuple[str, ...]:
        """The kernel's complaints but for what the act itself provokes."""
        return tuple(line for line in complaints if not self.provokes or self.provokes not in line)

    @property
    def takes_cache(self) -> bool:
        """A power cut that leaves less than all of the volatile cache."""
        return self.survivors is not None and self.aftermath is not Aftermath.CACHE_KEPT
