# SPDX-License-Identifier: GPL-2.0-or-later
"""What targets have in common: what they stand on, and names that stay the same over reboots."""

import os
import uuid

import system
from layer import Layer, device_below

IDENTITIES = uuid.UUID("6c616200-7461-4267-8574-000000000003")
"""Name space of the identities (RFC 9562, 5.5); any constant would do."""


def identity(name):
    """The UUID of a layer: the same after every reboot, in both guests of a profile."""
    return uuid.uuid5(IDENTITIES, name)


def serial(name):
    """The serial number of the disk that a layer offers: 20 digits, as many as NVMe has room for.

    Hexadecimal ones only: LIO makes a disk's NAA identifier, by which Extended Copy finds it, of
    the hexadecimal digits in its serial and leaves out the rest
    (drivers/target/target_core_spc.c, spc_gen_naa_6h_vendor_specific).
    """
    return identity(name).hex[:20]


class Backed(Layer):
    """A target over a block device, or over the file NAME.img on a file system."""

    @property
    def in_file(self):
        """Whether there is a file."""
        return self.spec["size"] is not None

    def backing(self):
        """The block device, or the file, which is made if it is not there.  Raises Failure."""
        below = device_below(self.spec["over"])
        if not self.in_file:
            return below
        path = f"{below}/{self.name}.img"
        try:
            if not os.path.exists(path):
                with open(path, "wb") as file:
                    file.truncate(self.spec["size"])
        except OSError as problem:
            raise system.failure(f"make {path}", problem) from None
        return path


def refuse_in_use(device):
    """Raise Failure where something stands on a disk: its target would leave all the same."""
    if device and system.in_use(device):
        raise system.Failure(device, "is in use", "EBUSY")
