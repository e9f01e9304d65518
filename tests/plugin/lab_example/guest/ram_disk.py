# SPDX-License-Identifier: GPL-2.0-or-later
"""The layer ram-disk in the guest."""

import os

import system
from layer import Layer, Made


class RamDisk(Layer):
    """The only disk of brd, of the size that its module is given."""

    def uses(self):
        return []

    def up(self):
        if not os.path.exists("/sys/block/ram0"):
            size = self.spec["size"] // 1024
            system.run(["modprobe", "brd", "rd_nr=1", f"rd_size={size}"])
        node = "/dev/ram0"
        return Made({"": system.wait_for(lambda: os.path.exists(node) and node, node)})

    def down(self):
        if os.path.exists("/sys/block/ram0"):
            # udev probes the disk after its last user closed it.
            system.settle()
            system.run(["modprobe", "-r", "brd"])
