# SPDX-License-Identifier: GPL-2.0-or-later
"""The Copy command of an NVMe namespace, by passthrough."""

import array
import os
import struct

import nvme_command
import system

# NVM Command Set 1.1, 3.3.2 Copy
COPY = 0x19
ONCS_COPY = 1 << 8
# PRINFO (NVM Command Set 1.1, Figure 12)
PRACT, GUARD, REFTAG = 8, 4, 1


class Limits:
    """What a namespace says about Copy, in blocks and ranges (counted from 1).

    `supported` and `formats` are ONCS bit 8 and OCFS of Identify Controller; `mssrl`, `mcl` and
    `msrc` those of Identify Namespace (NVM Command Set 1.1, 4.1.5.1); `pi` is the type of
    protection information, 0 without.
    """

    def __init__(self, controller, namespace):
        (oncs,) = struct.unpack_from("<H", controller, 520)
        (ocfs,) = struct.unpack_from("<H", controller, 534)
        self.supported = bool(oncs & ONCS_COPY)
        self.formats = [bit for bit in range(16) if ocfs & 1 << bit]
        self.mssrl, self.mcl, msrc = struct.unpack_from("<HIB", namespace, 74)
        self.msrc = msrc + 1
        self.pi = namespace[29] & 7

    def __str__(self):
        formats = ", ".join(map(str, self.formats)) or "none"
        return (
            f"ONCS bit 8 {'set' if self.supported else 'clear'}, formats {formats}, "
            f"MSSRL {self.mssrl} and MCL {self.mcl} blocks, MSRC {self.msrc} ranges"
        )


def limits(name):
    """The Limits of a namespace.  Raises OSError and Failure."""
    controller = nvme_command.identify(name, nvme_command.CNS_CONTROLLER)
    return Limits(controller, nvme_command.identify(name, nvme_command.CNS_NAMESPACE))


def copy(name, source, blocks, target, pi=0):
    """Copy `blocks` blocks from block `source` to block `target`, as one range.

    With protection information the controller checks and strips what it reads, and makes it anew
    for the destination: a reference tag holds the address of its block, except in type 3.  Raises
    OSError and Failure.
    """
    prinfo = PRACT | GUARD | (REFTAG if pi != 3 else 0) if pi else 0
    form = 1 if wide_guard(name) else 0
    low, high = target & 0xFFFFFFFF, target >> 32
    words = (low, high, form << 8 | prinfo << 12 | prinfo << 26, 0, low if pi else 0)
    entry = descriptor(source, blocks, form, source if pi else 0)
    nvme_command.send(name, nvme_command.IO_CMD, COPY, words, array.array("B", entry))


def descriptor(source, blocks, form, tag):
    """The source range entry of `blocks` blocks from block `source` on, whose first one has that
    reference tag (NVM Command Set 1.1, Figures 39 and 40).

    Format 0, for a guard of 16 bits, holds 4 bytes of tag at byte 24.  Format 1, for wider guards,
    holds 10 bytes of storage tag and reference tag at byte 26, of which QEMU's storage tag has
    none: the last 6 are the reference tag, most significant byte first.
    """
    if form == 0:
        return struct.pack("<8xQH6xI4x", source, blocks - 1, tag & 0xFFFFFFFF)
    return struct.pack("<8xQH8x4x6s4x", source, blocks - 1, tag.to_bytes(6, "big"))


def wide_guard(name):
    """Whether the protection information of a namespace has a guard of 64 bits."""
    path = f"{system.BLOCK}/{name}/integrity/format"
    return os.path.exists(path) and system.read(path).endswith("CRC64")
