# SPDX-License-Identifier: GPL-2.0-or-later
"""zloop: a file for each zone (Documentation/admin-guide/blockdev/zoned_loop.rst)."""

import os
import zlib

import system
from layer import Layer, Made, device_below

CONTROL = "/dev/zloop-control"
MIB = 2**20


class Zloop(Layer):
    """A zoned device, whose files are in NAME.zones on the file system below."""

    @property
    def number(self):
        """Its id, in the name of its node and of the directory of its files: the same after a
        reboot, whatever else there is."""
        return zlib.crc32(self.name.encode()) % 10**6

    @property
    def node(self):
        """The device node."""
        return f"/dev/zloop{self.number}"

    def up(self):
        if not os.path.exists(self.node):
            system.modprobe("zloop")
            system.wait_for(lambda: os.path.exists(CONTROL), CONTROL)
            base = f"{device_below(self.spec['over'])}/{self.name}.zones"
            system.make_directory(f"{base}/{self.number}")
            options = [f"id={self.number}", f"base_dir={base}", *self.options()]
            system.write(CONTROL, f"add {','.join(options)}")
        return Made(
            {"": system.wait_for(lambda: os.path.exists(self.node) and self.node, self.node)}
        )

    def options(self):
        """What the driver is told of the device."""
        zoned = self.spec["zoned"]
        yield f"capacity_mb={self.spec['size'] // MIB}"
        yield f"zone_size_mb={zoned['zone_size'] // MIB}"
        yield f"conv_zones={zoned['conventional']}"
        if zoned["zone_capacity"]:
            yield f"zone_capacity_mb={zoned['zone_capacity'] // MIB}"
        if zoned["max_open"]:
            yield f"max_open_zones={zoned['max_open']}"
        if self.spec["buffered"]:
            yield "buffered_io"
        if self.spec["discard_write_cache"]:
            yield "discard_write_cache"

    def down(self):
        if os.path.exists(self.node):
            system.write(CONTROL, f"remove id={self.number}")
