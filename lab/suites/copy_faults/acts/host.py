"""What is done to a copy while it is held: one function for each action that is more than to hold.

Each is given the scene, does its part, and returns what came of it; what can only be done or seen
once the copy goes on is its `after`.
"""

import time
from collections.abc import Callable
from functools import partial

from lab.copy.oracle import Tagging, flip_bit
from lab.faults.actions import Action
from lab.faults.model import Point, Stage, ranges_written
from lab.faults.stepper import Stepper
from lab.suites.copy_faults.acts import controller
from lab.suites.copy_faults.acts import guest as guest_acts
from lab.suites.copy_faults.acts.scene import Effect, Scene

DELAY = 0.25
"""Seconds for which `delay` holds a request: long for a disk, nothing for the guest's timeout."""

RESET_HOLD = 2.0
"""Seconds for which a write waits while the controller is reset; the reset begins much sooner."""

_UNPLUG_HOLD = 0.5
"""Seconds between the order to unplug and the release, so that the guest has begun to obey."""

PATIENCE_MS = 1500
"""For `pause`: how long the guest's driver waits for the command, and for its Abort."""

PAUSE = 8.0
"""Seconds for which `pause` holds a write; the driver has given up on both long before.  QEMU may
wait for the write in the reset that follows, and answer nobody meanwhile."""


def _inject(scene: Scene) -> Effect:
    if isinstance(scene.grip, Stepper):
        scene.grip.inject(scene.fault.arming)
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
    controller.reset(scene.bench, RESET_HOLD + scene.hang)
    return Effect()


def _unplug(scene: Scene) -> Effect:
    controller.unplug(scene.bench)
    time.sleep(_UNPLUG_HOLD)
    return Effect(after=partial(controller.await_unplugged, scene.bench))


def _outlast(scene: Scene) -> Effect:
    """The guest's driver gives up on the command, first by Abort, then by a reset."""
    time.sleep(PAUSE)
    return Effect()


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
    **guest_acts.ACTS,
}
"""By action; the others only hold."""
