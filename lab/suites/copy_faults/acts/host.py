# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done from the host to a copy that is held: over QMP, or to the medium.

Each function is given the scene, does its part, and returns what came of it.
"""

import time
from functools import partial

from lab.copy.oracle import Tagging, flip_bit
from lab.faults.model import Point, Stage, ranges_written
from lab.faults.stepper import Stepper
from lab.suites.copy_faults.acts import controller
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


def inject(scene: Scene) -> Effect:
    """The held request will fail."""
    if isinstance(scene.grip, Stepper):
        scene.grip.inject(scene.fault.arming)
    return Effect()


def corrupt(scene: Scene) -> Effect:
    """A bit of what was written flips."""
    target = scene.copy.pieces()[ranges_written(scene.point) - 1][1]
    sector = target.start + target.sectors // 2
    flip_bit(scene.bench.ground, sector)
    return Effect(corrupted=(sector,))


def lose_write(scene: Scene) -> Effect:
    """The write has reached the medium, and is made undone before anybody is told."""
    _, target = scene.part
    old = b"".join(map(scene.tagging.sector, target))
    scene.bench.ground.write(target.start, old)
    return Effect(lost=tuple(target))


def read_stale(scene: Scene) -> Effect:
    """The read finds what an earlier tagging had left there."""
    source, target = scene.part
    tagging = scene.tagging.source
    before = Tagging(source, tagging.generation - 1, tagging.run)
    ground, grip = scene.bench.ground.source, scene.grip
    assert isinstance(grip, Stepper)
    ground.write(source.start, before.data())
    grip.advance(Point(Stage.WRITE, scene.point.k), scene.hang)
    ground.write(source.start, b"".join(map(tagging.sector, source)))
    return Effect(corrupted=tuple(target))


def delay(scene: Scene) -> Effect:
    """It just takes long."""
    time.sleep(DELAY)
    return Effect()


def lose_qmp(scene: Scene) -> Effect:
    """The lab's connection to QEMU breaks, and is made again for the release."""
    scene.bench.guest.machine.close()
    return Effect()


def reset(scene: Scene) -> Effect:
    """The guest resets the controller."""
    controller.reset(scene.bench, RESET_HOLD + scene.hang)
    return Effect()


def unplug(scene: Scene) -> Effect:
    """The controller goes."""
    controller.unplug(scene.bench)
    time.sleep(_UNPLUG_HOLD)
    return Effect(after=partial(controller.await_unplugged, scene.bench))


def outlast(scene: Scene) -> Effect:
    """The guest's driver gives up on the command, first by Abort, then by a reset."""
    time.sleep(PAUSE)
    return Effect()
