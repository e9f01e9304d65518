# SPDX-License-Identifier: GPL-2.0-or-later
"""A part of a block device on which things are tried, and which is then as it was."""

import os
import time

import ioctls
import system
from direct import Direct
from pattern import Pattern

UNIT = 4096
SLOW = 0.25
"""Seconds that the first read may take; a delayed device would hold up the whole boot."""
LAST_ZONES = 64
"""How many zones at the end are looked at for empty ones."""


def block_size(device):
    """Bytes of a logical block."""
    return int(system.queue(device, "logical_block_size"))


def has_partitions(device):
    """Whether a block device is divided into partitions."""
    directory = f"{system.BLOCK}/{system.block_name(device)}"
    return any(os.path.exists(f"{directory}/{name}/partition") for name in os.listdir(directory))


class NotTried(Exception):
    """Why something was not tried."""


class Area:
    """Two places of `size` bytes each on a `device`: a source with a pattern, and a target for what
    is tried.

    `source` and `target` are offsets in bytes.  Raises NotTried where nothing may be written.
    """

    def __init__(self, device):
        self.device = device
        self.size = max(UNIT, block_size(device))
        self.source = self.target = 0
        if system.size_of(device) < 4 * self.size:
            raise NotTried("too small: the kernel shows it with less than four blocks")
        if system.read(f"{system.BLOCK}/{system.block_name(device)}/ro") == "1":
            raise NotTried("read-only")
        if has_partitions(device):
            # When a disk that was open for writing is closed, udev has its table read again, and
            # for a moment there are no partitions.
            raise NotTried("it has partitions")
        try:
            self.disk = Direct(device, exclusive=True)
        except OSError as problem:
            raise NotTried(f"cannot be opened alone: {problem.strerror}") from None
        try:
            start = time.monotonic()
            self.find(device)
            if time.monotonic() - start > SLOW:
                raise NotTried("too slow: reading two blocks took longer than 0.25 s")
        except OSError as problem:
            self.disk.__exit__()
            raise NotTried(f"cannot be read: {problem.strerror}") from None
        except NotTried:
            self.disk.__exit__()
            raise
        self.pattern = Pattern(self.size)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.disk.__exit__()

    def find(self, device):
        """Choose the places, and keep what must be restored."""
        raise NotImplementedError

    def prepare(self):
        """Before each trial: let the source hold the pattern, and the target something else."""
        raise NotImplementedError

    def restore(self):
        """After the last trial: bring back what was there."""
        raise NotImplementedError

    def copied(self):
        """Whether the target holds what the source held, and the source still does.  OSError."""
        both = [self.disk.read(at, self.size) for at in (self.source, self.target)]
        return both == [self.pattern.blocks(0, 1)] * 2


class LastBlocks(Area):
    """The last two units of a device that can be written anywhere."""

    def find(self, device):
        end = system.size_of(device) // self.size * self.size
        self.source, self.target = end - 2 * self.size, end - self.size
        self.saved = self.disk.read(self.source, 2 * self.size)

    def prepare(self):
        self.disk.write(self.source, self.pattern.blocks(0, 2))

    def restore(self):
        self.disk.write(self.source, self.saved)


class EmptyZones(Area):
    """The starts of the last two empty zones."""

    def find(self, device):
        length = int(system.queue(device, "chunk_sectors")) * ioctls.SECTOR
        first = max(0, system.size_of(device) // length - LAST_ZONES) * length
        found = ioctls.zones(self.disk.fd, first, LAST_ZONES)
        empty = [zone for zone in found if zone.sequential and zone.empty]
        if len(empty) < 2:
            raise NotTried(f"less than two of the last {LAST_ZONES} zones are empty")
        self.zones = empty[-2:]
        self.written = False
        self.source, self.target = (zone.start for zone in self.zones)

    def prepare(self):
        # Once: QEMU resets a zone by writing zeroes to all of it.  An empty one it leaves alone.
        if not self.written:
            self.disk.write(self.source, self.pattern.blocks(0, 1))
            self.written = True
        ioctls.reset_zone(self.disk.fd, self.zones[1])

    def restore(self):
        for zone in self.zones:
            ioctls.reset_zone(self.disk.fd, zone)


def area(device):
    """The Area of a block device.  Raises NotTried."""
    return (EmptyZones if system.is_zoned(device) else LastBlocks)(device)
