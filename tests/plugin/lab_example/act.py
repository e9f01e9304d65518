# SPDX-License-Identifier: GPL-2.0-or-later
"""The action drop-caches: the guest forgets what it has cached while a copy is held."""

from lab.faults.actions import HELD, Action
from lab.suites.copy_faults.acts.act import Act
from lab.suites.copy_faults.acts.scene import Effect, Scene


def drop_caches(scene: Scene) -> Effect:
    """Have the guest's kernel let go of clean pages, dentries and inodes."""
    scene.bench.sh("echo 3 >/proc/sys/vm/drop_caches", deadline=scene.hang)
    return Effect()


DROP_CACHES = Act(Action("drop-caches", HELD), drop_caches, in_guest=True)
