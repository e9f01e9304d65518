# SPDX-License-Identifier: GPL-2.0-or-later
"""ioctls of block devices and files, by their numbers and structures.

Sources, all below include/uapi/linux: fs.h, blkpg.h, blkzoned.h, falloc.h, fiemap.h.
"""

import array
import fcntl
import os
import struct

SECTOR = 512

BLKDISCARD, BLKZEROOUT = 0x1277, 0x127F
BLKPG, BLKPG_ADD_PARTITION, BLKPG_DEL_PARTITION = 0x1269, 1, 2
BLKREPORTZONE, BLKRESETZONE = 0xC0101282, 0x40101283
FICLONE, FICLONERANGE, FIDEDUPERANGE = 0x40049409, 0x4020940D, 0xC0189436
FS_IOC_FIEMAP, FS_IOC_UNRESVSP64 = 0xC020660B, 0x4030582B

# struct blk_zone: start, len, wp, type, cond, non_seq, reset, capacity; in sectors of 512 bytes
ZONE = struct.Struct("<QQQBBBB4xQ24x")
REPORT = struct.Struct("<QII")
REPORT_HAS_CAPACITY = 1
CONVENTIONAL, SEQUENTIAL = 1, 2
EMPTY = 1

# struct blkpg_partition: start, length, pno, devname[64], volname[64]; blkpg_ioctl_arg: op, flags,
# datalen, data
BLKPG_PARTITION, BLKPG_IOCTL_ARG = struct.Struct("<qqi128x4x"), struct.Struct("<iii4xQ")

FIEMAP = struct.Struct("<QQIIII")
FIEMAP_EXTENT = struct.Struct("<QQQ16xI12x")
FIEMAP_SYNC, FIEMAP_SHARED, FIEMAP_LAST = 1, 0x2000, 1

# struct space_resv: type, whence, start, length
SPACE = struct.Struct("<hh4xqq24x")

DEDUPE = struct.Struct("<QQHHI" + "qQQiI")
DEDUPE_DIFFERS = 1


class Zone:
    """A zone of a block device, in bytes: where it starts, how far it can be written, and the
    write pointer; type and condition as the kernel numbers them."""

    def __init__(self, record, has_capacity=True):
        start, length, pointer, self.type, self.condition, _, _, capacity = ZONE.unpack(record)
        self.start = start * SECTOR
        self.length = length * SECTOR
        self.pointer = pointer * SECTOR
        self.capacity = capacity * SECTOR if has_capacity else self.length

    @property
    def sequential(self):
        """Whether it must be written in order."""
        return self.type == SEQUENTIAL

    @property
    def empty(self):
        """Whether nothing is written in it."""
        return self.condition == EMPTY


def add_partition(fd, number, offset, size):
    """Tell the kernel of a partition of a disk, in bytes; nothing is written."""
    _blkpg(fd, BLKPG_ADD_PARTITION, number, offset, size)


def remove_partition(fd, number):
    """Have the kernel forget a partition of a disk."""
    _blkpg(fd, BLKPG_DEL_PARTITION, number, 0, 0)


def _blkpg(fd, operation, number, offset, size):
    partition = array.array("B", BLKPG_PARTITION.pack(offset, size, number))
    address, length = partition.buffer_info()
    fcntl.ioctl(fd, BLKPG, BLKPG_IOCTL_ARG.pack(operation, 0, length, address))


def discard(fd, offset, size):
    """Discard bytes of a block device."""
    fcntl.ioctl(fd, BLKDISCARD, struct.pack("<QQ", offset, size))


def zero_out(fd, offset, size):
    """Let bytes of a block device read as zeroes; the kernel writes them if the device cannot."""
    fcntl.ioctl(fd, BLKZEROOUT, struct.pack("<QQ", offset, size))


def zones(fd, offset, most):
    """The zones of a block device from the one at `offset` bytes on, `most` of them at most."""
    report = bytearray(REPORT.pack(offset // SECTOR, most, 0) + bytes(ZONE.size * most))
    fcntl.ioctl(fd, BLKREPORTZONE, report)
    return zones_in(bytes(report))


def zones_in(report):
    """The zones of a report as the kernel fills it in."""
    _, number, flags = REPORT.unpack_from(report)
    ends = [REPORT.size + ZONE.size * index for index in range(number + 1)]
    return [
        Zone(report[at : at + ZONE.size], bool(flags & REPORT_HAS_CAPACITY)) for at in ends[:-1]
    ]


def reset_zone(fd, zone):
    """Empty a zone."""
    record = struct.pack("<QQ", zone.start // SECTOR, zone.length // SECTOR)
    fcntl.ioctl(fd, BLKRESETZONE, record)


def clone(source, target):
    """Let one file share all blocks of another; both by descriptor."""
    fcntl.ioctl(target, FICLONE, source)


def clone_range(source, offset, size, target, at):
    """Let a file share blocks of another."""
    fcntl.ioctl(target, FICLONERANGE, struct.pack("<qQQQ", source, offset, size, at))


def dedupe(source, target, size):
    """Let two files that begin with the same `size` bytes share them.  Bytes shared; -1 when they
    differ."""
    return dedupe_range(source, 0, size, target, 0)


def dedupe_range(source, offset, size, target, at):
    """Let a file share blocks of another that hold the same.  Bytes shared; -1 when they differ."""
    request = bytearray(DEDUPE.pack(offset, size, 1, 0, 0, target, at, 0, 0, 0))
    fcntl.ioctl(source, FIDEDUPERANGE, request)
    *_, shared, status, _ = DEDUPE.unpack(request)
    if status < 0:
        raise OSError(-status, os.strerror(-status))
    return -1 if status == DEDUPE_DIFFERS else shared


def punch_hole(fd, offset, size):
    """Deallocate part of a file, which keeps its size (fs/ioctl.c: FALLOC_FL_PUNCH_HOLE)."""
    fcntl.ioctl(fd, FS_IOC_UNRESVSP64, SPACE.pack(0, 0, offset, size))


def shares_blocks(fd):
    """Whether the first extent of a file is shared with another file."""
    request = bytearray(FIEMAP.pack(0, 2**64 - 1, FIEMAP_SYNC, 0, 1, 0) + bytes(FIEMAP_EXTENT.size))
    fcntl.ioctl(fd, FS_IOC_FIEMAP, request)
    mapped = FIEMAP.unpack_from(request)[3]
    flags = FIEMAP_EXTENT.unpack_from(request, FIEMAP.size)[3]
    return bool(mapped and flags & FIEMAP_SHARED)
