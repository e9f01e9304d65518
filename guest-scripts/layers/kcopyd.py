# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper targets that copy by kcopyd, the kernel's own copying thread."""

import content
import dm
import system
from layer import device_below

SHARED = 8 * 2**20
"""Most bytes of a thin volume that it shares with the snapshot taken when it was made."""


class Snapshot(dm.Mapped):
    """dm-snapshot (Documentation/admin-guide/device-mapper/snapshot.rst): NAME and NAME:origin."""

    module = "dm_snapshot"
    stands_on = ("over", "store")

    @property
    def origin(self):
        """Device-mapper name of the origin."""
        return f"{self.name}:origin"

    def up(self):
        # The snapshot first: what is written to its origin before it is there would not be kept.
        made = super().up()
        if not dm.is_up(self.origin):
            dm.create(self.origin, [f"0 {self.sectors()} snapshot-origin {self.below()}"])
        made.devices["origin"] = dm.path_of(self.origin)
        return made

    def table(self):
        kind = "P" if self.spec["persistent"] else "N"
        chunk = self.spec["chunk"] // system.SECTOR
        yield (f"0 {self.sectors()} snapshot {self.below()} {self.below('store')} {kind} {chunk}")

    def options_asked(self, words):
        yield dm.read("persistent", self.spec["persistent"], words[5].startswith("P"))
        yield dm.read("chunk", self.spec["chunk"], int(words[6]) * system.SECTOR)

    def down(self):
        dm.remove(self.origin)
        super().down()


class Thin(dm.Mapped):
    """dm-thin (Documentation/admin-guide/device-mapper/thin-provisioning.rst).

    NAME:pool is its pool, NAME volume 0 of that and NAME:snapshot volume 1.
    """

    module = "dm_thin_pool"
    stands_on = ("over", "metadata")

    @property
    def pool(self):
        """Device-mapper name of the pool."""
        return f"{self.name}:pool"

    @property
    def snapshot(self):
        """Device-mapper name of the snapshot."""
        return f"{self.name}:snapshot"

    def up(self):
        made = super().up()
        if self.spec["snapshot"]:
            if not dm.is_up(self.snapshot):
                self._take_snapshot()
                dm.create(self.snapshot, self._volume(1))
            made.devices["snapshot"] = dm.path_of(self.snapshot)
        return made

    def make(self):
        if not dm.is_up(self.pool):
            dm.create(self.pool, self.pool_table())
        is_new = self._tell_pool("create_thin 0")
        super().make()
        if is_new and self.spec["snapshot"]:
            # Blocks never written are not there, and so not shared.
            content.fill(dm.path_of(self.name), min(SHARED, self.spec["size"]))

    def pool_table(self):
        """The table of the pool, which makes its metadata where there are none."""
        chunk = self.spec["chunk"] // system.SECTOR
        # By default writes to a full pool wait for a minute, for somebody who extends it.
        features = "1 error_if_no_space"
        yield (
            f"0 {self.sectors()} thin-pool {self.below('metadata')} {self.below()} {chunk} 0 "
            f"{features}"
        )

    def table(self):
        return self._volume(0)

    def options_asked(self, words):
        (pool,) = dm.in_effect(self.pool)
        yield dm.read("chunk", self.spec["chunk"], int(pool[5]) * system.SECTOR)

    def _volume(self, identifier):
        sectors = self.spec["size"] // system.SECTOR
        yield f"0 {sectors} thin {dm.path_of(self.pool)} {identifier}"

    def _take_snapshot(self):
        # An active origin has to be suspended, or the snapshot may be inconsistent.
        system.run(["dmsetup", "suspend", self.name])
        try:
            self._tell_pool("create_snap 1 0")
        finally:
            system.run(["dmsetup", "resume", self.name])

    def _tell_pool(self, text):
        """Have the pool make a volume, and whether it did: False if the volume was there."""
        try:
            dm.message(self.pool, text)
        except system.Failure as problem:
            if problem.error == "EEXIST":
                return False
            raise
        return True

    def down(self):
        dm.remove(self.snapshot)
        super().down()
        dm.remove(self.pool)


class Mirror(dm.Mapped):
    """dm-mirror with its log in memory: all is copied from the first leg whenever it is made."""

    module = "dm_mirror"

    def uses(self):
        return self.spec["legs"]

    def up(self):
        made = super().up()
        size = system.size_of(made.devices[""])
        what = f"{self.name} in sync"
        system.wait_for(lambda: in_sync(dm.status(self.name)), what, content.patience(size))
        return made

    def table(self):
        legs = [device_below(leg) for leg in self.spec["legs"]]
        sectors = min(system.size_of(leg) for leg in legs) // system.SECTOR
        region = self.spec["region"] // system.SECTOR
        words = [f"{leg} 0" for leg in legs]
        # Without `handle_errors`: that holds writes to a bad leg until a daemon deals with them.
        yield f"0 {sectors} mirror core 1 {region} {len(legs)} {' '.join(words)}"

    def options_asked(self, words):
        # drivers/md/dm-raid1.c, mirror_status: after `core`, how many words of the log follow
        yield dm.read("region", self.spec["region"], int(words[5]) * system.SECTOR)
        yield dm.read("legs", len(self.spec["legs"]), int(words[5 + int(words[4])]))


def in_sync(status):
    """Whether the words of a mirror's status say that all regions are in sync.

    `mirror 2 259:0 259:1 128/128 1 AA 1 core` (drivers/md/dm-raid1.c, mirror_status).
    """
    done, _, all_regions = status[2 + int(status[1])].partition("/")
    return done == all_regions


class Clone(dm.Mapped):
    """dm-clone (Documentation/admin-guide/device-mapper/dm-clone.rst)."""

    module = "dm_clone"
    stands_on = ("over", "destination", "metadata")

    def table(self):
        region = self.spec["region"] // system.SECTOR
        metadata, destination = self.below("metadata"), self.below("destination")
        yield f"0 {self.sectors()} clone {metadata} {destination} {self.below()} {region}"

    def options_asked(self, words):
        yield dm.read("region", self.spec["region"], int(words[6]) * system.SECTOR)
