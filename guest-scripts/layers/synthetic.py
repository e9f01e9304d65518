# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks in the guest's memory: null_blk and scsi_debug."""

import glob
import os

import disk_properties
import properties
import system
from layer import Layer, Made

MIB = 2**20


class NullBlk(Layer):
    """A null_blk device, by configfs (Documentation/block/null_blk.rst)."""

    @property
    def directory(self):
        """Its directory in configfs."""
        return f"{system.CONFIGFS}/nullb/{self.name}"

    def uses(self):
        return []

    def up(self):
        system.mount_configfs()
        if not os.path.isdir("/sys/module/null_blk"):
            # By default it would come with a disk of 250 GB that is not the profile's.
            system.run(["modprobe", "null_blk", "nr_devices=0"])
        if not os.path.isdir(self.directory) or system.read(f"{self.directory}/power") == "0":
            self._make()
        node = f"/dev/{self._node_name()}"
        return Made({"": system.wait_for(lambda: os.path.exists(node) and node, node)})

    def asked(self, made):
        yield from disk_properties.read_back(made.devices[""], _asked(self.spec))
        if (most := self.spec["max_copy_bytes"]) is not None:
            # It may have been made what the disk can do when that was created.
            path = f"{self.directory}/max_copy_bytes"
            yield properties.Asked("max_copy_bytes", most, int(system.read(path)), path)

    def _make(self):
        system.make_directory(self.directory)
        for attribute, value in self._attributes():
            path = f"{self.directory}/{attribute}"
            if not os.path.exists(path):
                raise system.Failure(f"echo {value} > {path}", f"null_blk has no {attribute} here")
            system.put(path, value)
        # Last: it creates the device with what was said before.
        system.put(f"{self.directory}/power", 1)

    def _attributes(self):
        yield from (("size", self.spec["size"] // MIB), ("blocksize", self.spec["block_size"]))
        yield "memory_backed", 1
        if self.spec["max_copy_bytes"] is not None:
            yield "max_copy_bytes", self.spec["max_copy_bytes"]
        if not self.spec["zoned"]:  # zones are reset instead
            yield "discard", 1
        if zoned := self.spec["zoned"]:
            yield from (("zoned", 1), ("zone_size", zoned["zone_size"] // MIB))
            yield "zone_capacity", (zoned["zone_capacity"] or zoned["zone_size"]) // MIB
            yield from (
                ("zone_nr_conv", zoned["conventional"]),
                ("zone_max_open", zoned["max_open"]),
            )

    def _node_name(self):
        # Since 6.0 the device has the directory's name, before that it is nullbINDEX.
        if os.path.exists(f"{system.BLOCK}/{self.name}"):
            return self.name
        return f"nullb{system.read(f'{self.directory}/index')}"

    def down(self):
        if os.path.isdir(self.directory):
            system.write(f"{self.directory}/power", 0)
            system.remove_directory(self.directory)


class ScsiDebug(Layer):
    """The disk of scsi_debug, which its module's parameters describe."""

    def uses(self):
        return []

    def up(self):
        if not os.path.isdir("/sys/bus/pseudo/drivers/scsi_debug"):
            system.modprobe("sd_mod")
            system.run(["modprobe", "scsi_debug", *self._parameters()])
            for parameter in self._parameters():
                _check_parameter("scsi_debug", *parameter.split("="))
        return Made({"": f"/dev/{system.wait_for(_scsi_debug_disk, 'the disk of scsi_debug')}"})

    def asked(self, made):
        return disk_properties.read_back(made.devices[""], _asked(self.spec))

    def _parameters(self):
        yield f"dev_size_mb={self.spec['size'] // MIB}"
        yield f"sector_size={self.spec['block_size']}"
        # No artificial delay: by default each command takes a millisecond.
        yield from ("delay=0", "lbpu=1")
        if zoned := self.spec["zoned"]:
            yield from ("zbc=managed", f"zone_size_mb={zoned['zone_size'] // MIB}")
            yield f"zone_nr_conv={zoned['conventional']}"
            if zoned["zone_capacity"]:
                yield f"zone_cap_mb={zoned['zone_capacity'] // MIB}"
            # Always: left alone, the module sets a limit of its own.
            yield f"zone_max_open={zoned['max_open']}"

    def down(self):
        if os.path.isdir("/sys/bus/pseudo/drivers/scsi_debug"):
            # udev probes the disk after its last user closed it.
            system.settle()
            system.run(["modprobe", "-r", "scsi_debug"])


def _check_parameter(module, name, value):
    """Raise Failure when a module that was just loaded has another value than it was given."""
    path = f"/sys/module/{module}/parameters/{name}"
    # One that this kernel does not know it ignores, and says so in its log.
    found = system.read(path) if os.path.exists(path) else "no such parameter"
    if not system.same(value, found):
        raise system.Failure(f"modprobe {module} {name}={value}", f"it has {found}")


def _asked(spec):
    """What is asked of a disk in memory."""
    sizes = {key: spec[key] for key in ("size", "block_size")}
    return sizes | disk_properties.zones(spec["zoned"])


def _scsi_debug_disk():
    found = glob.glob("/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block/*")
    return os.path.basename(found[0]) if found else None
