# SPDX-License-Identifier: GPL-2.0-or-later
"""What is observed of a copy under a fault: all that the rules of the contract are given."""

from dataclasses import dataclass
from enum import StrEnum

from lab.copy.model import Completion
from lab.copy.oracle import Findings


class Aftermath(StrEnum):
    """Which medium the oracle read."""

    LIVE = "live"
    """The guest ran on; nothing was lost."""
    KILLED = "killed"
    """QEMU was killed; the medium as it stood, volatile cache included."""
    POWER_LOST = "power lost"
    """QEMU was killed; the medium rebuilt from the write log up to the last flush."""
    CRASHED = "kernel crashed"
    """The guest's kernel crashed, and QEMU was killed; the medium as it stood."""
    CACHE_PART = "power lost, part of the cache kept"
    """As before, plus the first part of what was written after the last flush."""
    CACHE_KEPT = "power lost, all of the cache kept"
    """QEMU was killed; the medium rebuilt from all of the write log."""
    REMOUNTED = "mounted anew"
    """The guest ran on, and the file system was mounted anew, after a check."""
    UNPLUGGED = "controller removed"
    """The guest ran on without the device; nothing was lost."""


LOSSY = (Aftermath.POWER_LOST, Aftermath.CACHE_PART)
"""What was written and not flushed may be gone."""

RAN_ON = (Aftermath.LIVE, Aftermath.UNPLUGGED)
"""The guest was there to wait for the copy."""


@dataclass(frozen=True)
class Offload:
    """What shows who moved the data: `proof` that it was not the caller, or what speaks `against`
    that, in words.  Neither where that cannot be told, for the reason `untold`.  `fallback`: how
    reads and writes were seen to bring the data, or a part of them, to the destination; then it
    stands in `against`."""

    proof: str = ""
    against: str = ""
    fallback: str = ""
    untold: str = "the guest ended before it could tell"

    @classmethod
    def fell_back(cls, how: str) -> "Offload":
        """Reads and writes moved the data."""
        return cls(against=how, fallback=how)


@dataclass(frozen=True)
class Recovery:
    """The same copy again once the fault was gone, on a freshly tagged destination; `offload`: who
    moved its data."""

    completion: Completion | None
    findings: Findings
    problem: str = ""
    offload: Offload = Offload()


@dataclass(frozen=True)
class CachedCopy:
    """A copy of what the page cache has a part in: how it ended, what is read through the page
    cache afterwards, what is then on the medium, if it ended, what is read by memory that was
    mapped before it, where some was, and what was wrong with a read while it ran, or ''."""

    completion: Completion | None
    read: Findings | None = None
    medium: Findings | None = None
    mapped: Findings | None = None
    meanwhile: str = ""


@dataclass(frozen=True)
class Facts:
    """All that was observed of one case.

    `completion` is None when the guest ended before the caller was told anything, or the caller
    was killed.  `injected`: the error that the medium returned, as text, or empty.  `flushed`: the
    copy's success is durable: it was asked for with FUA or synced, or a flush completed after it
    and before the guest ended.  `waited`: seconds between
    release and completion, None when it never came; `deadline`: how long it was waited for.
    `crash`: how the device under test itself died or hung, or empty.
    `disturbed`: what else was done to the device that may make a copy fail, or empty.
    `redundant`: what may have made that error good from another disk, or empty.
    `corrupted`: destination sectors that the lab damaged on the medium; `lost`: those whose write
    it made undone.  `lied`: how the lab let a layer report writes that it had dropped, or empty.
    `blind`: why the write log, from which the medium was rebuilt, cannot tell what FUA had made
    durable, or empty.
    `complaints`: kernel messages that speak of a hang, a lockup or an oops.  `stray_writes`:
    logged writes outside the destination, as text.  `reached`: the copy came to the point.
    `others`: the same as `findings` of what else wrote at the same time.
    `cached`: the same copy through the page cache, where the path has it and that was tried.
    `size`: how a copy lies to a limit of its device, where that is the question, as text; `excess`:
    it is above one.
    """

    findings: Findings
    aftermath: Aftermath
    completion: Completion | None
    injected: str
    flushed: bool
    waited: float | None
    deadline: float
    crash: str
    complaints: tuple[str, ...]
    stray_writes: tuple[str, ...]
    offload: Offload
    recovery: Recovery
    reached: bool = True
    disturbed: str = ""
    corrupted: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    lied: str = ""
    blind: str = ""
    redundant: str = ""
    cached: CachedCopy | None = None
    size: str = ""
    excess: bool = False
    others: tuple[Findings, ...] = ()
