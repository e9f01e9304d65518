# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper targets that keep data in a way of their own: vdo and pcache."""

import os

import content
import dm
import system

BLOCK = 4096
CACHE = 32768
"""Blocks of the block map that are kept in memory: the least that there can be."""
ERA = 16380
"""How long a changed page of it may stay there: the most, and what is recommended."""
SLAB_BITS = 13
"""The smallest slab, 32 MiB: for a small device."""


class Vdo(dm.Mapped):
    """dm-vdo (Documentation/admin-guide/device-mapper/vdo.rst), formatted by vdoformat."""

    module = "dm_vdo"

    def make(self):
        device = self.below()
        found = system.signature(device)
        if found not in ("", "vdo"):
            raise system.Failure(device, f"has {found} on it; expected nothing")
        if not found:
            size = f"--logical-size={self.spec['size'] // BLOCK * 4}K"
            argv = ["vdoformat", f"--slab-bits={SLAB_BITS}", size, device]
            system.run(argv, content.patience(system.size_of(device)))
        super().make()

    def table(self):
        sectors = self.spec["size"] // system.SECTOR
        blocks = system.size_of(self.below()) // BLOCK
        switches = [
            f"{key} {'on' if self.spec[key] else 'off'}" for key in ("deduplication", "compression")
        ]
        yield (
            f"0 {sectors} vdo V4 {self.below()} {blocks} {self.spec['block_size']} {CACHE} {ERA} "
            f"{' '.join(switches)}"
        )


PMEM = "memmap=512M!1G among the guest's kernel_args makes persistent memory of 512M at 1G"


class Pcache(dm.Mapped):
    """dm-pcache (Documentation/admin-guide/device-mapper/dm-pcache.rst), which formats the
    persistent memory by itself.  What was written back outlasts a reboot, and that does not."""

    module = "dm_pcache"

    def make(self):
        # The memory is on the platform bus, which nobody looks through at boot (init).
        system.modprobe("nd_e820", "nd_pmem")
        pmem = self.spec["pmem"]
        system.wait_for(lambda: os.path.exists(pmem), pmem, cure=PMEM)
        super().make()

    def table(self):
        crc = "true" if self.spec["data_crc"] else "false"
        features = f"4 cache_mode writeback data_crc {crc}"
        yield f"0 {self.sectors()} pcache {self.spec['pmem']} {self.below()} {features}"

    def options_asked(self, words):
        # Told as `crc` (drivers/md/dm-pcache/dm_pcache.c, dm_pcache_status).
        yield dm.read("data_crc", self.spec["data_crc"], words[-1] == "true")
