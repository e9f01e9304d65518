# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper targets that only say where blocks are."""

import dm
import dmzoned
import system
from layer import device_below


class Linear(dm.Mapped):
    """dm-linear (Documentation/admin-guide/device-mapper/linear.rst): a line for each segment."""

    module = "dm_mod"

    def uses(self):
        return [segment["over"] for segment in self.spec["segments"]]

    def table(self):
        start = 0
        for segment in self.spec["segments"]:
            sectors = segment["size"] // system.SECTOR
            offset = segment["offset"] // system.SECTOR
            yield f"{start} {sectors} linear {device_below(segment['over'])} {offset}"
            start += sectors


class Zoned(dm.Mapped):
    """dm-zoned (Documentation/admin-guide/device-mapper/dm-zoned.rst)."""

    module = "dm_zoned"
    stands_on = ("over", "cache")

    def asked(self, made):
        # Nothing but to be there; its table is made while it is formatted.
        return ()

    def table(self):
        over = self.below()
        cache = self.below("cache") if self.spec["cache"] else None
        sectors = dmzoned.format_once(over, cache, self.name) // system.SECTOR
        yield " ".join([f"0 {sectors} zoned", *filter(None, [cache]), over])
