# SPDX-License-Identifier: GPL-2.0-or-later
"""copyref: a disk over a file, by the lab's own module (images/kernel/modules/copyref)."""

import os

import disk_properties
import properties
import system
from layer import Layer, Made, device_below

PARAMETERS = "/sys/module/copyref/parameters"


class Copyref(Layer):
    """copyref over the file NAME.img on the file system below."""

    @property
    def file(self):
        """The medium."""
        return f"{device_below(self.spec['over'])}/{self.name}.img"

    @property
    def node(self):
        """The device node."""
        return f"/dev/copyref-{self.name}"

    def up(self):
        system.insmod("copyref")
        if not os.path.exists(self.node):
            self._make()
        system.write(f"{self._sysfs}/limits", self.limits())
        system.write(f"{self._sysfs}/fault", self.spec["fault"] or "none")
        return Made(
            {"": system.wait_for(lambda: os.path.exists(self.node) and self.node, self.node)}
        )

    def _make(self):
        if not os.path.exists(self.file):
            with open(self.file, "wb") as file:
                file.truncate(self.spec["size"])
        words = [self.name, self.file, self.spec["block_size"], int(self.spec["direct_io"])]
        system.write(f"{PARAMETERS}/add", " ".join(map(str, words)))

    def limits(self):
        """What the driver is told of its limits: ranges, bytes in one, bytes in all."""
        limits, block = self.spec["copy"], self.spec["block_size"]
        return f"{limits['msrc']} {limits['mssrl'] * block} {limits['mcl'] * block}"

    def asked(self, made):
        sizes = {key: self.spec[key] for key in ("size", "block_size")}
        yield from disk_properties.read_back(made.devices[""], sizes)
        where = f"{self._sysfs}/limits"
        yield properties.Asked("copy", self.limits(), system.read(where), where)

    @property
    def _sysfs(self):
        return f"{system.BLOCK}/copyref-{self.name}"

    def down(self):
        if os.path.exists(self.node):
            system.write(f"{PARAMETERS}/remove", self.name)
