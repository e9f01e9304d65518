# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers that only say where blocks are: device-mapper targets, and partitions."""

import os

import dm
import dmzoned
import ioctls
import properties
import system
from layer import Layer, Made, device_below, path_of


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


class Partition(Layer):
    """A partition that the kernel is told of (ioctl BLKPG); nothing is written."""

    def up(self):
        over = device_below(self.spec["over"])
        node = self._node(over)
        if not os.path.exists(node):
            number, offset, size = (self.spec[key] for key in ("number", "offset", "size"))
            tried = f"partition {number} of {over}, {size} bytes at {offset}"
            _told(tried, over, lambda fd: ioctls.add_partition(fd, number, offset, size))
            system.wait_for(lambda: os.path.exists(node), node)
        return Made({"": node})

    def _node(self, over):
        # Linux block/partitions/core.c: a p comes between where the disk's name ends in a digit.
        return f"{over}{'p' if over[-1].isdigit() else ''}{self.spec['number']}"

    def asked(self, made):
        device = made.devices[""]
        for key, attribute in (("offset", "start"), ("size", "size")):
            made = properties.number(device, attribute) * system.SECTOR
            where = properties.sysfs(device, attribute)
            yield properties.Asked(key, self.spec[key], made, where)

    def down(self):
        over = path_of(self.spec["over"])
        if over and os.path.exists(self._node(over)):
            number = self.spec["number"]
            tried = f"partition {number} of {over} no longer"
            _told(tried, over, lambda fd: ioctls.remove_partition(fd, number))


def _told(tried, disk, what):
    """Tell the kernel something about a disk.  Raises Failure."""
    fd = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        what(fd)
    except OSError as problem:
        raise system.failure(tried, problem) from None
    finally:
        os.close(fd)


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
