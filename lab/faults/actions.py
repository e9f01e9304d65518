"""What can be done to a copy at a point (actions), and which points and actions go together."""

from enum import StrEnum

from lab.errors import UsageError
from lab.faults.model import PER_RANGE, REHEARSED, Point, Stage, ranges_written


class Action(StrEnum):
    """What is done to a held copy."""

    RESUME = "resume"
    EIO = "eio"
    EIO_UNHELD = "eio-unheld"
    ENOSPC = "enospc"
    TORN = "torn"
    CORRUPT = "corrupt"
    LOST_WRITE = "lost-write"
    STALE_READ = "stale-read"
    THROTTLE = "throttle"
    DELAY = "delay"
    QMP_LOST = "qmp-lost"
    RESET = "reset"
    PAUSE = "pause"
    UNPLUG = "unplug"
    KILL_COPIER = "kill-copier"
    FS_SHUTDOWN = "fs-shutdown"
    DM_ERROR = "dm-error"
    DM_DELAY = "dm-delay"
    DM_DROP_WRITES = "dm-drop-writes"
    DM_CORRUPT = "dm-corrupt"
    NFS_STOP = "nfs-stop"
    TARGET_REMOVED = "target-removed"
    FAIL_REQUEST = "fail-make-request"
    BLK_ERROR = "blk-error"
    SYSRQ_CRASH = "sysrq-crash"
    KILL = "kill"
    POWER_CUT = "power-cut"
    POWER_CUT_KEPT = "power-cut-kept"
    POWER_CUT_PREFIX = "power-cut-prefix"
    REHEARSAL = "rehearsal"
    """Nothing: a copy without any fault, with which each run begins."""
    SIZE = "size"
    """Nothing either: a copy of a size at, or just above, a limit of its device."""

    @property
    def undisturbed(self) -> bool:
        """Nothing is done to the copy."""
        return self in (Action.REHEARSAL, Action.SIZE)

    @property
    def ends_guest(self) -> bool:
        """QEMU is killed at the point."""
        return self in (Action.KILL, Action.SYSRQ_CRASH) or self.cuts_power

    @property
    def cuts_power(self) -> bool:
        """The medium is rebuilt from the write log; what of the volatile cache survives differs."""
        return self in (Action.POWER_CUT, Action.POWER_CUT_KEPT, Action.POWER_CUT_PREFIX)

    @property
    def costs_boot(self) -> bool:
        """The guest must be booted again before the next case, even if nothing goes wrong."""
        return self.ends_guest or self is Action.UNPLUG

    @property
    def throttles(self) -> bool:
        """The request is held by a rate limit, which QEMU can drain, and not by a breakpoint."""
        return self in (Action.THROTTLE, Action.RESET, Action.PAUSE)

    @property
    def errno(self) -> int:
        """The errno that the medium answers with; 0 for none (values of asm-generic/errno).

        Others would add nothing: QEMU's NVMe controller makes the same status of each of them.
        """
        eio = (Action.EIO, Action.EIO_UNHELD, Action.TORN)
        return 5 if self in eio else 28 if self is Action.ENOSPC else 0

    @property
    def lies(self) -> bool:
        """A layer reports writes that it did not make, or made otherwise."""
        return self in (Action.DM_DROP_WRITES, Action.DM_CORRUPT)

    @property
    def layer(self) -> str:
        """The kind of layer below the copy that it strikes; '' where it needs none."""
        return _STRIKES.get(self, "")

    def possible_at(self, point: Point) -> bool:
        """Whether the action means anything at the point.

        A read cannot run out of space nor be torn; a write that has reached the medium can no
        longer fail there; what is done to a copy that has ended can only end the guest; and what
        nothing was written to yet cannot be corrupted under the copy.
        """
        if self.undisturbed:
            return point == REHEARSED
        if self is Action.SYSRQ_CRASH or self in _WHILE_HELD:
            return point.stage in PER_RANGE
        if self.ends_guest:
            return True
        if self is Action.CORRUPT:
            return point.stage in PER_RANGE and ranges_written(point) > 0
        if self is Action.STALE_READ:
            return point.stage is Stage.READ
        if self is Action.LOST_WRITE:
            return point.stage is Stage.WRITTEN
        if self in (Action.EIO, Action.EIO_UNHELD):
            return point.stage in (Stage.READ, Stage.WRITE)
        return point.stage is Stage.WRITE

    @classmethod
    def parse(cls, text: str) -> "Action":
        """Read an action's name.  Raises UsageError with the list of names."""
        try:
            return cls(text)
        except ValueError:
            names = ", ".join(cls)
            raise UsageError(f"action {text!r}: no such action", hint=f"one of {names}") from None


def named(point: Point, action: Action) -> str:
    """How people call what is done at a point: `write:2 eio`, or `rehearsal`."""
    return str(action) if action.undisturbed else f"{point} {action}"


_WHILE_HELD = (
    Action.RESUME, Action.DELAY, Action.QMP_LOST, Action.UNPLUG, Action.KILL_COPIER,
    Action.FS_SHUTDOWN, Action.DM_ERROR, Action.DM_DELAY, Action.DM_DROP_WRITES,
    Action.DM_CORRUPT, Action.NFS_STOP, Action.TARGET_REMOVED, Action.FAIL_REQUEST,
    Action.BLK_ERROR,
)  # fmt: skip
"""Possible at every point at which a request is held."""

_STRIKES = {
    Action.FS_SHUTDOWN: "file system",
    Action.DM_ERROR: "device mapper",
    Action.DM_DELAY: "device mapper",
    Action.DM_DROP_WRITES: "device mapper",
    Action.DM_CORRUPT: "device mapper",
    Action.NFS_STOP: "nfs",
    Action.TARGET_REMOVED: "NVMe target",
    Action.FAIL_REQUEST: "block layer",
    Action.BLK_ERROR: "block layer",
}

SWEPT = (
    Action.RESUME, Action.EIO, Action.ENOSPC, Action.TORN, Action.CORRUPT, Action.DELAY,
    Action.KILL, Action.POWER_CUT,
)  # fmt: skip
"""The actions of a sweep that names none; the others cost a boot for each case, or seconds and
perhaps a boot, or do much the same."""

EVERY = tuple(action for action in Action if not action.undisturbed)
"""All that can be done to a copy; without a fault one is made in any case."""

HOST = tuple(
    action
    for action in EVERY
    if not action.layer and action not in (Action.KILL_COPIER, Action.SYSRQ_CRASH)
)
"""What is done from the host, over QMP or to the medium."""


def actions_named(text: str) -> tuple[Action, ...]:
    """Actions by their names, separated by commas, each once; `all` stands for all of them,
    `host` for those that are done from the host.

    Raises UsageError for a name that is none.
    """
    names = (name for name in text.split(",") if name)
    groups = {"all": EVERY, "host": HOST}
    found = (groups.get(name) or (Action.parse(name),) for name in names)
    return tuple(dict.fromkeys(action for actions in found for action in actions))
