"""What is done to a copy while it is held: one function for each action that is more than to hold.

Each is given the scene, does its part, and returns what came of it; what can only be done or seen
once the copy goes on is its `after`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lab.copy.model import Copy, Extent
from lab.copy.oracle import Tagging, flip_bit
from lab.errors import GuestError
from lab.faults.model import Action, Point, Stage, ranges_written
from lab.faults.stepper import Stepper
from lab.suites.bench import Bench, DeviceFailed, Meanwhile

DELAY = 0.25
"""Seconds for which `delay` holds a request: long for a disk, nothing for the guest's timeout."""

RESET_HOLD = 2.0
"""Seconds for which a write waits while the controller is reset; the reset begins much sooner."""

_UNPLUG_HOLD = 0.5
"""Seconds between the order to unplug and the release, so that the guest has begun to obey."""

_HEAD_START = 0.5
"""Seconds for a script in the guest to get to where it waits for the held request."""

_PANIC_DEADLINE = 30.0

PATIENCE_MS = 1500
"""For `pause`: how long the guest's driver waits for the command, and for its Abort."""

PAUSE = 8.0
"""Seconds for which `pause` holds a write; the driver has given up on both long before.  QEMU may
wait for the write in the reset that follows, and answer nobody meanwhile."""


class Grip(Protocol):
    """What holds a request."""

    def release(self) -> None:
        """Let it go."""


@dataclass(frozen=True)
class Scene:
    """A held copy: what it is, where it is held, what its sectors held before, and how long things
    may take."""

    bench: Bench
    copy: Copy
    point: Point
    tagging: Tagging
    grip: Grip
    hang: float

    @property
    def part(self) -> tuple[Extent, Extent]:
        """The source and the destination of the range that the point is in."""
        return self.copy.pieces()[self.point.k - 1]


def _nothing(_: float) -> None:
    pass


@dataclass(frozen=True)
class Effect:
    """What an act came to: sectors that were damaged, sectors whose write was undone, how a layer
    lies (which shows only if the guest is ended after the copy), and what is to be done after the
    release, within so many seconds."""

    corrupted: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    lied: str = ""
    after: Callable[[float], None] = _nothing


def _inject(scene: Scene) -> Effect:
    if isinstance(scene.grip, Stepper):
        scene.grip.inject()
    return Effect()


def _corrupt(scene: Scene) -> Effect:
    target = scene.copy.pieces()[ranges_written(scene.point) - 1][1]
    sector = target.start + target.sectors // 2
    flip_bit(scene.bench.ground, sector)
    return Effect(corrupted=(sector,))


def _lose_write(scene: Scene) -> Effect:
    """The write has reached the medium, and is made undone before anybody is told."""
    _, target = scene.part
    old = b"".join(map(scene.tagging.sector, target))
    scene.bench.ground.write(target.start, old)
    return Effect(lost=tuple(target))


def _read_stale(scene: Scene) -> Effect:
    """The read finds what an earlier tagging had left there."""
    source, target = scene.part
    before = Tagging(source, scene.tagging.generation - 1, scene.tagging.run)
    ground, grip = scene.bench.ground, scene.grip
    assert isinstance(grip, Stepper)
    ground.write(source.start, before.data())
    grip.advance(Point(Stage.WRITE, scene.point.k), scene.hang)
    ground.write(source.start, b"".join(map(scene.tagging.sector, source)))
    return Effect(corrupted=tuple(target))


def _delay(scene: Scene) -> Effect:
    time.sleep(DELAY)
    return Effect()


def _lose_qmp(scene: Scene) -> Effect:
    """The lab's connection to QEMU breaks, and is made again for the release."""
    scene.bench.guest.machine.close()
    return Effect()


def _reset(scene: Scene) -> Effect:
    scene.bench.reset_controller(RESET_HOLD + scene.hang)
    return Effect()


def _unplug(scene: Scene) -> Effect:
    scene.bench.unplug()
    time.sleep(_UNPLUG_HOLD)
    return Effect(after=scene.bench.await_unplugged)


_KILL = 'kill -KILL "$(cat /run/lab/copier.pid)"'


def _kill_copier(scene: Scene) -> Effect:
    scene.bench.sh(_KILL, deadline=scene.hang)
    return Effect()


def _crash(scene: Scene) -> Effect:
    """The guest's kernel crashes; what it still says is on the console."""
    bench = scene.bench
    bench.meanwhile("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger")
    bench.await_console("Kernel panic", _PANIC_DEADLINE)
    return Effect()


def _outlast(scene: Scene) -> Effect:
    """The guest's driver gives up on the command, first by Abort, then by a reset."""
    time.sleep(PAUSE)
    return Effect()


_SHUTDOWN = 'xfs_io -x -c shutdown "$1"'


def _shut_down(scene: Scene) -> Effect:
    """The file system below is shut down, as it does by itself when its disk fails."""
    mount = f"/dev/lab/{scene.bench.path.layer('file system')}"
    ended = _ends(scene, scene.bench.meanwhile(_SHUTDOWN, mount), "the shutdown")
    time.sleep(_HEAD_START)
    return Effect(after=ended)


# What is in flight goes on to the table there was; what comes later meets the new one.
_SWAP = """dmsetup table "$1" >"/run/lab/$1.table"
dmsetup suspend --noflush --nolockfs "$1"
awk "$2" "/run/lab/$1.table" | dmsetup load "$1"
dmsetup resume "$1"
"""
_SWAP_BACK = """dmsetup suspend --noflush --nolockfs "$1"
dmsetup load "$1" <"/run/lab/$1.table"
dmsetup resume "$1"
"""
# Of a line `0 1048576 linear 259:0 0` or `0 1048576 flakey 259:0 0 3600 0`: where it is, its device
# and the offset there (Documentation/admin-guide/device-mapper).
_TABLES = {
    Action.DM_ERROR: '{print $1, $2, "error"}',
    Action.DM_DELAY: '{print $1, $2, "delay", $4, $5, 100}',
    Action.DM_DROP_WRITES: '{print $1, $2, "flakey", $4, $5, 0, 3600, 1, "drop_writes"}',
}


def _swap_table(action: Action) -> Callable[[Scene], Effect]:
    def swap(scene: Scene) -> Effect:
        bench, name = scene.bench, scene.bench.path.layer("device mapper")
        swapping = bench.meanwhile(_SWAP, name, _TABLES[action])
        time.sleep(_HEAD_START)

        def after(deadline: float) -> None:
            _ends(scene, swapping, f"the exchange of {name}'s table")(deadline)
            if not lied:
                bench.sh(_SWAP_BACK, name, deadline=deadline)

        dropped = action is Action.DM_DROP_WRITES
        lied = f"{name} dropped every write after {scene.point}" if dropped else ""
        return Effect(lied=lied, after=after)

    return swap


_STOP_SERVER = "rpc.nfsd 0"
_START_SERVER = "rpc.nfsd -N 3 4"


def _stop_server(scene: Scene) -> Effect:
    bench = scene.bench
    stopping = bench.meanwhile(_STOP_SERVER)
    time.sleep(_HEAD_START)

    def after(deadline: float) -> None:
        _ends(scene, stopping, "stopping the NFS server")(deadline)
        bench.sh(_START_SERVER, deadline=deadline)

    return Effect(after=after)


def _ends(scene: Scene, script: Meanwhile, what: str) -> Callable[[float], None]:
    """What waits for a script: its not ending is the guest's hang, its failing is the lab's."""

    def after(deadline: float) -> None:
        problem = script.ended(deadline)
        if "did not end" in problem:
            raise DeviceFailed(f"{what}: {problem}")
        if problem:
            raise GuestError(f"{what} in the guest: {problem}")

    return after


ACTS: dict[Action, Callable[[Scene], Effect]] = {
    Action.EIO: _inject,
    Action.ENOSPC: _inject,
    Action.TORN: _inject,
    Action.CORRUPT: _corrupt,
    Action.LOST_WRITE: _lose_write,
    Action.STALE_READ: _read_stale,
    Action.DELAY: _delay,
    Action.QMP_LOST: _lose_qmp,
    Action.RESET: _reset,
    Action.PAUSE: _outlast,
    Action.UNPLUG: _unplug,
    Action.KILL_COPIER: _kill_copier,
    Action.SYSRQ_CRASH: _crash,
    Action.FS_SHUTDOWN: _shut_down,
    Action.DM_ERROR: _swap_table(Action.DM_ERROR),
    Action.DM_DELAY: _swap_table(Action.DM_DELAY),
    Action.DM_DROP_WRITES: _swap_table(Action.DM_DROP_WRITES),
    Action.NFS_STOP: _stop_server,
}
"""By action; the others only hold."""
