# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's SCSI target (LIO) as disks in the same guest, by configfs.

Documentation/target, drivers/target/target_core_configfs.c, drivers/target/loopback/tcm_loop.c.
"""

import contextlib
import glob
import os

import byserial
import disk_properties
import properties
import system
from direct import Direct
from layer import Made
from targets import Backed, identity, refuse_in_use, serial

LIO = f"{system.CONFIGFS}/target"

# All disks hang on one port of one loopback adapter: Extended Copy reaches only disks of the
# initiator that asks for it (drivers/target/target_core_xcopy.c, target_xcopy_locate_se_dev_e4).
ADAPTER = f"{LIO}/loopback/naa.5{identity('tcm-loop target').hex[:15]}"
INITIATOR = f"naa.5{identity('tcm-loop initiator').hex[:15]}"
PORT = f"{ADAPTER}/tpgt_1"
MOST_LUNS = 256


class TcmLoop(Backed):
    """A disk of LIO: iblock over a block device, fileio over a file."""

    @property
    def adapter(self):
        """The directory of all stores of its kind; its number means nothing."""
        return f"{LIO}/core/{'fileio_0' if self.in_file else 'iblock_0'}"

    @property
    def store(self):
        """The directory of its backing store."""
        return f"{self.adapter}/{self.name}"

    def up(self):
        system.mount_configfs()
        system.modprobe("target_core_mod", "tcm_loop", "sd_mod", "sg")
        system.modprobe("target_core_file" if self.in_file else "target_core_iblock")
        self._enable()
        new = self._export()
        made = Made({"": byserial.disk("scsi", serial(self.name), None)})
        if new:
            _hear_news()
        return made

    def asked(self, made):
        if not self.in_file:  # a block device passes on what it has
            return
        wanted = {"size": self.spec["size"], "block_size": self.spec["block_size"] or 512}
        yield from disk_properties.read_back(made.devices[""], wanted)
        cached, where = properties.write_cache(made.devices[""])
        yield properties.Asked("write_back", self.spec["write_back"], cached, where)

    def _enable(self):
        if os.path.isdir(self.store):
            if system.read(f"{self.store}/enable") == "1":
                return
            system.remove_directory(self.store)  # begun, and never finished
        system.make_directory(self.store)
        system.write(f"{self.store}/control", self._control(self.backing()))
        system.write(f"{self.store}/wwn/vpd_unit_serial", serial(self.name))
        system.put(f"{self.store}/enable", 1)
        system.put(f"{self.store}/attrib/emulate_3pc", 1)
        if self.spec["block_size"]:
            # After `enable`, which sets the default.
            system.put(f"{self.store}/attrib/block_size", self.spec["block_size"])

    def _control(self, backing):
        if not self.in_file:
            return f"udev_path={backing}"
        cached = ",fd_buffered_io=1" if self.spec["write_back"] else ""
        return f"fd_dev_name={backing},fd_dev_size={self.spec['size']}{cached}"

    def _export(self):
        """Let it be a logical unit; whether it was none yet."""
        if self._luns():
            return False
        system.make_directory(PORT)
        try:
            system.write(f"{PORT}/nexus", INITIATOR)
        except system.Failure as problem:
            if problem.error != "EEXIST":  # from another layer
                raise
        taken = os.listdir(f"{PORT}/lun")
        lun = next(n for n in map("lun_{}".format, range(MOST_LUNS)) if n not in taken)
        system.make_directory(f"{PORT}/lun/{lun}")
        system.link(self.store, f"{PORT}/lun/{lun}/{self.name}")
        return True

    def _luns(self):
        """The directories of the logical units that are this store."""
        return list(map(os.path.dirname, glob.glob(f"{PORT}/lun/lun_*/{self.name}")))

    def down(self):
        luns = self._luns()
        if luns:
            refuse_in_use(byserial.find_disk("scsi", serial(self.name), None))
        for lun in luns:
            system.unlink(f"{lun}/{self.name}")
            system.remove_directory(lun)
        system.remove_directory(self.store)
        if os.path.isdir(self.adapter) and not _stores(self.adapter):
            system.remove_directory(self.adapter)
        if os.path.isdir(PORT) and not os.listdir(f"{PORT}/lun"):
            _remove_port()


def _hear_news():
    """Let each disk tell that there are more: it does so with its next command (SPC-4, 3Fh/0Eh
    REPORTED LUNS DATA HAS CHANGED), and udev then probes it."""
    stores = filter(os.path.islink, glob.glob(f"{PORT}/lun/lun_*/*"))
    names = map(os.path.basename, stores)
    for node in [byserial.find_disk("scsi", serial(name), None) for name in names]:
        if node:
            with contextlib.suppress(OSError), Direct(node, write=False) as disk:
                disk.read(0, int(system.queue(node, "logical_block_size")))
    system.settle()


def _stores(adapter):
    return [name for name in os.listdir(adapter) if os.path.isdir(f"{adapter}/{name}")]


def _remove_port():
    """Take the loopback adapter away, which has no disks any more."""
    try:
        system.write(f"{PORT}/nexus", "NULL")
    except system.Failure as problem:
        if problem.error != "ENODEV":  # it never had one
            raise
    system.remove_directory(PORT)
    system.remove_directory(ADAPTER)
