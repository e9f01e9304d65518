# SPDX-License-Identifier: GPL-2.0-or-later
"""The format of dm-zoned, for want of its tool.

After Documentation/admin-guide/device-mapper/dm-zoned.rst, which has the layout, and
drivers/md/dm-zoned-metadata.c, which has the structures and checks them; both of Linux 6.12.

All counts are of blocks of 4 KiB and of zones.  Zones have numbers: first those that the cache
device is cut into, then those of the zoned device.  A metadata set is a superblock, the table that
maps chunks (of the size of a zone) to zones, and a bitmap of valid blocks for each zone.  There are
two sets, each from the start of a zone of its own: in the first conventional zones, or at the start
of the cache device.  With a cache device the zoned device begins with a third superblock.
"""

import os
import struct
import uuid
import zlib
from dataclasses import dataclass

import ioctls
import system
from direct import Direct

BLOCK = 4096
MAGIC = 0x445A4244  # DMZ_MAGIC, "DZBD"
VERSION = 2  # DMZ_META_VER
MAP_ENTRIES = BLOCK // 8  # DMZ_MAP_ENTRIES
UNMAPPED = b"\xff" * BLOCK  # DMZ_MAP_UNMAPPED for both zones of each entry
MOST_RESERVED = 16
"""Sequential zones kept free so that buffered writes can be merged; fewer on small devices."""

# struct dmz_super: magic, version, gen, sb_block, nr_meta_blocks, nr_reserved_seq, nr_chunks,
# nr_map_blocks, nr_bitmap_blocks, crc, dmz_label, dmz_uuid, dev_uuid; zeros up to a whole block.
SUPER = struct.Struct("<IIQQIIIIII32s16s16s")
CRC_AT = 44

CONVENTIONAL, SEQUENTIAL, UNUSABLE = "conventional", "sequential", "unusable"

READ_ONLY, OFFLINE = 0xD, 0xF  # enum blk_zone_cond
REPORTED = 512
"""Zones asked for at once."""


@dataclass(frozen=True)
class Layout:
    """Where metadata and data go.  `primary` and `secondary` are the zones of the two sets;
    `tertiary`, with a cache device, is the zoned device's first zone."""

    zone_blocks: int
    zones: int
    chunks: int
    reserved: int
    map_blocks: int
    bitmap_blocks: int
    primary: int
    tertiary: int | None

    @property
    def meta_blocks(self):
        """Blocks of a metadata set (nr_meta_blocks)."""
        return 1 + self.map_blocks + self.bitmap_blocks

    @property
    def meta_zones(self):
        """Zones of a metadata set (nr_meta_zones)."""
        return -(-self.meta_blocks // self.zone_blocks)

    @property
    def secondary(self):
        """The second set's zone: right behind the first set's (dmz_load_sb)."""
        return self.primary + self.meta_zones


def layout(zone_blocks, kinds, cache_blocks=0):
    """The Layout of a zoned device with zones of these kinds, and a cache of so many blocks.

    The kernel would take conventional zones as room for chunks too; here they all buffer writes,
    so that there is room for that when every chunk is in use.  Raises Failure if it does not fit.
    """
    # dmz_emulate_zones: what is left at the end of the cache is a zone that is not used.
    cache_zones = -(-cache_blocks // zone_blocks)
    whole = [CONVENTIONAL] * (cache_blocks // zone_blocks)
    unusable = [UNUSABLE] * (cache_zones - len(whole))
    metadata = [UNUSABLE] if cache_blocks else []
    numbered = [*whole, *unusable, *metadata, *kinds[len(metadata) :]]
    if CONVENTIONAL not in numbered:
        raise system.Failure("dm-zoned", "needs conventional zones, or a cache device with a zone")
    sequential = numbered.count(SEQUENTIAL)
    reserved = min(MOST_RESERVED, max(1, sequential // 8))
    chunks = sequential - reserved
    found = Layout(
        zone_blocks=zone_blocks,
        zones=len(numbered),
        chunks=chunks,
        reserved=reserved,
        map_blocks=-(-chunks // MAP_ENTRIES),
        # zone_nr_bitmap_blocks for each zone
        bitmap_blocks=len(numbered) * max(1, zone_blocks // 8 // BLOCK),
        primary=0 if cache_blocks else numbered.index(CONVENTIONAL),
        tertiary=cache_zones if cache_blocks else None,
    )
    sets = numbered[found.primary : found.primary + 2 * found.meta_zones]
    if chunks < 1 or set(sets) != {CONVENTIONAL} or numbered.count(CONVENTIONAL) <= len(sets):
        raise system.Failure(
            "dm-zoned",
            f"needs at least 2 sequential zones and {2 * found.meta_zones + 1} conventional ones "
            f"(in a row, or in the cache device); there are {sequential} and "
            f"{numbered.count(CONVENTIONAL)}",
        )
    return found


def superblock(made, zone, generation, identifiers, label):
    """The superblock of the set that begins in a zone: one block.

    `identifiers` are the UUIDs (bytes) of the whole and of the device that it is on.
    """
    fields = (MAGIC, VERSION, generation, zone * made.zone_blocks, made.meta_blocks, made.reserved)
    counts = (made.chunks, made.map_blocks, made.bitmap_blocks)
    packed = SUPER.pack(*fields, *counts, 0, label.encode(), *identifiers)
    block = bytearray(packed.ljust(BLOCK, b"\0"))
    struct.pack_into("<I", block, CRC_AT, checksum(block))
    return bytes(block)


def checksum(block):
    """The checksum of a superblock whose `crc` is 0 (dmz_write_sb): crc32_le with the generation
    as its seed, and without inversions, which zlib's has."""
    (generation,) = struct.unpack_from("<Q", block, 8)
    seed = (generation & 0xFFFFFFFF) ^ 0xFFFFFFFF
    return zlib.crc32(block, seed) ^ 0xFFFFFFFF


def chunks_of(block):
    """How many chunks a superblock says there are; None if it is none, or damaged."""
    magic, version, *_ = fields = SUPER.unpack_from(block)
    blank = bytearray(block)
    blank[CRC_AT : CRC_AT + 4] = bytes(4)
    if (magic, version) != (MAGIC, VERSION) or fields[9] != checksum(blank):
        return None
    return fields[6]


def format_once(over, cache, label):
    """Format a zoned device, with a cache device or None, unless that is done already; the bytes
    that dm-zoned makes of them.  Raises Failure."""
    zone_size, kinds = zones_of(over)
    made = layout(zone_size // BLOCK, kinds, system.size_of(cache) // BLOCK if cache else 0)
    metadata = cache or over
    try:
        with open(metadata, "r+b", buffering=0) as file:
            chunks = None
            for zone in (made.primary, made.secondary):
                chunks = chunks or chunks_of(os.pread(file.fileno(), BLOCK, zone * zone_size))
            if chunks is None:
                chunks = made.chunks
                system.run(["blkzone", "reset", over])
                _write(file, made, over, label)
    except OSError as problem:
        raise system.failure(f"format {metadata}", problem) from None
    return chunks * zone_size


def _write(file, made, zoned, label):
    """Write all metadata, the primary superblock last: before it the device is not formatted."""
    whole, first, second = (uuid.uuid4().bytes for _ in range(3))
    # The primary is preferred to others as new (dmz_load_sb); the third has 0 (dm-zoned.rst).
    if made.tertiary is not None:
        # Past the page cache, as sequential zones need it.
        with Direct(zoned) as disk:
            disk.write(0, superblock(made, made.tertiary, 0, (whole, second), label))
            disk.sync()
    rest = UNMAPPED * made.map_blocks + bytes(made.bitmap_blocks * BLOCK)
    for zone in (made.secondary, made.primary):
        at = zone * made.zone_blocks * BLOCK
        _write_all(file, rest, at + BLOCK)
        _write_all(file, superblock(made, zone, 1, (whole, first), label), at)


def _write_all(file, data, at):
    while data:
        written = os.pwrite(file.fileno(), data, at)
        data, at = data[written:], at + written
    os.fsync(file.fileno())


def zones_of(device):
    """The zone size in bytes of a zoned device, and the kind of each zone.  Raises Failure."""
    size = system.size_of(device)
    zone_size = int(system.queue(device, "chunk_sectors", "0")) * system.SECTOR
    kinds, at = [], 0
    try:
        with open(device, "rb", buffering=0) as file:
            while at < size:
                zones = ioctls.zones(file.fileno(), at, REPORTED)
                kinds += [kind_of(zone, zone_size) for zone in zones]
                at = zones[-1].start + zones[-1].length
    except OSError as problem:
        raise system.failure(f"report zones of {device}", problem) from None
    return zone_size, kinds


def kind_of(zone, zone_size):
    """The kind of a zone, by what the kernel makes of it (dmz_init_zone).  Raises Failure."""
    if zone.length != zone_size or zone.condition in (READ_ONLY, OFFLINE):
        return UNUSABLE
    if zone.capacity != zone.length:
        raise system.Failure(
            "dm-zoned",
            f"a zone has {zone.length} bytes and a capacity of {zone.capacity}; expected the same",
        )
    return CONVENTIONAL if zone.type == ioctls.CONVENTIONAL else SEQUENTIAL
