# SPDX-License-Identifier: GPL-2.0-or-later
"""What an NVMe namespace and its controller say of themselves, by the profile's keys.

Sources: NVMe Base 2.1, 5.1.13.2.1 Identify Controller and 5.1.25 (features); NVM Command Set 1.1,
4.1.5.1 Identify Namespace; Zoned Namespace Command Set 1.2, 4.1.5.1 Identify Namespace.
"""

import os
import struct

import nvme_command
import system

VOLATILE_WRITE_CACHE, WRITE_ATOMICITY = 0x06, 0x0A
CTRATT_FDP = 1 << 19
CONTROLLERS = "/sys/class/nvme"
FLBAS_EXTENDED = 1 << 4
DPS_FIRST = 1 << 3


def readers(name):
    """How each key of the namespace with that block device is read."""
    here = Identified(name)
    return {key: _reader(here, *how) for key, how in KEYS.items()}


def _reader(here, where, read):
    return lambda device: (read(here), where)


class Identified:
    """What a namespace and its controller say, asked for once.  Raises Failure and OSError."""

    def __init__(self, name):
        self.name = name
        self._known = {}

    def _identify(self, structure):
        if structure not in self._known:
            self._known[structure] = nvme_command.identify(self.name, structure)
        return self._known[structure]

    def of_controller(self, form, at):
        """A field of Identify Controller."""
        return struct.unpack_from(form, self._identify(nvme_command.CNS_CONTROLLER), at)[0]

    def of_namespace(self, form, at):
        """A field of Identify Namespace."""
        return struct.unpack_from(form, self._identify(nvme_command.CNS_NAMESPACE), at)[0]

    def of_zones(self, form, at):
        """A field of Identify Namespace of the Zoned Namespace Command Set."""
        return struct.unpack_from(form, self._identify(nvme_command.CNS_ZONED), at)[0]

    def feature(self, number):
        """A feature of the controller."""
        return nvme_command.feature(self.name, number)

    def lba_format(self):
        """Bytes of metadata and of data of a block: the format in use (FLBAS, bits 6:5 and 3:0)."""
        flbas = self.of_namespace("<B", 26)
        at = 128 + 4 * (flbas & 0xF | flbas >> 1 & 0x30)
        return self.of_namespace("<H", at), 1 << self.of_namespace("<B", at + 2)

    def guard(self):
        """Bits of the guard of the protection information, as the kernel handles it."""
        path = f"{system.BLOCK}/{self.name}/integrity/format"
        form = system.read(path) if os.path.exists(path) else "none"
        return None if form == "none" else 64 if form.endswith("CRC64") else 16

    def controllers(self):
        """How many controllers have the serial number of this namespace's."""
        serial = system.read(f"{system.BLOCK}/{self.name}/device/serial")
        controllers = os.listdir(CONTROLLERS) if os.path.isdir(CONTROLLERS) else ()
        return sum(system.read(f"{CONTROLLERS}/{one}/serial") == serial for one in controllers)

    def in_blocks(self, count):
        """Bytes of so many blocks."""
        return count * self.lba_format()[1]


_NS, _CTRL, _ZNS = "Identify Namespace", "Identify Controller", "Identify Namespace, zoned"

KEYS = {
    "copy.mssrl": (_NS, lambda of: of.of_namespace("<H", 74)),
    "copy.mcl": (_NS, lambda of: of.of_namespace("<I", 76)),
    # Zero-based; profiles count ranges.
    "copy.msrc": (f"{_NS}, where it is zero-based", lambda of: of.of_namespace("<B", 80) + 1),
    "metadata": (_NS, lambda of: of.lba_format()[0]),
    "extended": (_NS, lambda of: bool(of.of_namespace("<B", 26) & FLBAS_EXTENDED)),
    "pi": (_NS, lambda of: of.of_namespace("<B", 29) & 7),
    "pi_first": (_NS, lambda of: bool(of.of_namespace("<B", 29) & DPS_FIRST)),
    "guard": ("integrity/format in sysfs", Identified.guard),
    "write_cache": ("feature 06h", lambda of: bool(of.feature(VOLATILE_WRITE_CACHE) & 1)),
    "mdts": (_CTRL, lambda of: of.of_controller("<B", 77)),
    "controllers": (CONTROLLERS, Identified.controllers),
    "fdp": (_CTRL, lambda of: bool(of.of_controller("<I", 96) & CTRATT_FDP)),
    # Zero-based; profiles count blocks.
    "atomic.awun": (_CTRL, lambda of: of.of_controller("<H", 526) + 1),
    "atomic.awupf": (_CTRL, lambda of: of.of_controller("<H", 528) + 1),
    "atomic.dn": ("feature 0Ah", lambda of: bool(of.feature(WRITE_ATOMICITY) & 1)),
    "zoned.zrwa.resources": (_ZNS, lambda of: of.of_zones("<I", 44)),
    "zoned.zrwa.flush_granularity": (_ZNS, lambda of: of.in_blocks(of.of_zones("<H", 48))),
    "zoned.zrwa.size": (_ZNS, lambda of: of.in_blocks(of.of_zones("<H", 50))),
}
"""Where each key stands, and how it is read."""
