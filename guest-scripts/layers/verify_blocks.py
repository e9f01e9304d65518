# SPDX-License-Identifier: GPL-2.0-or-later
"""Verify a block device: write, read back, copy, compare; in all places where things differ."""

import errno
import os

import ioctls
import system
from area import block_size, has_partitions
from direct import Direct
from pattern import Mismatch, NotVerified, Pattern
from probe import is_scsi

BLOCKS = 64
"""Blocks written in one place, at most."""
CHUNK = 2**20
MOST = 32 * 2**20
"""Bytes that are read of a read-only device, at most."""


def verify(device):
    """Verify a block device that nothing stands on; what was done, in words."""
    if system.size_of(device) == 0:
        raise NotVerified("the kernel shows it with size 0")
    if has_partitions(device):
        raise NotVerified("it has partitions, whose table would be lost")
    if system.read(f"{system.BLOCK}/{system.block_name(device)}/ro") == "1":
        return _read_only(device)
    with Direct(device, exclusive=True) as disk:
        return _zoned(disk, device) if system.is_zoned(device) else _plain(disk, device)


def _plain(disk, device):
    """Three places: start, middle (which is where segments meet) and end."""
    size = block_size(device)
    blocks = system.size_of(device) // size
    count = min(BLOCKS, blocks // 3)
    places = [0, blocks // 2 - count // 2, blocks - count]
    bad = _bad_parts(device)
    good = [at for at in places if not touches(bad, at * size, count * size)]
    for at in set(places) - set(good):
        _must_fail(disk, at * size, count * size)
    pattern = Pattern(size)
    for at in good:
        disk.write(at * size, pattern.blocks(at, count))
    disk.sync()
    done = [f"{count} blocks in {len(good)} places written and read"] if good else []
    if len(good) < len(places):
        done.append(f"{len(places) - len(good)} places fail as they should (EIO)")
    held = {at: at for at in good}
    _check(disk, pattern, held, count)
    if len(good) > 1:
        done.append(_copy(disk, device, good[0], count, good[-1]))
        disk.sync()
        _check(disk, pattern, held | {good[-1]: good[0]}, count)
    if os.path.exists(f"{system.BLOCK}/{system.block_name(device)}/md"):
        import md

        done.append(md.compare(device))
    return "; ".join(filter(None, done))


def _check(disk, pattern, held, count):
    """Compare `count` blocks in each place with those of the number that it should hold."""
    for at, first in held.items():
        data = disk.read(at * pattern.size, count * pattern.size)
        pattern.check(data, first, count, f"at block {at}")


def _zoned(disk, device):
    """The start of the last two sequential zones, in two writes each; empty afterwards."""
    size = max(block_size(device), int(system.queue(device, "zone_write_granularity", "512")))
    length = int(system.queue(device, "chunk_sectors")) * ioctls.SECTOR
    number = system.size_of(device) // length
    zones = ioctls.zones(disk.fd, max(0, number - 64) * length, 64)
    last = [zone for zone in zones if zone.sequential][-2:]
    if len(last) < 2:
        raise system.Failure(device, "has less than two sequential zones at its end")
    source, target = last
    for zone in (source, target):
        ioctls.reset_zone(disk.fd, zone)
    count = min(BLOCKS, source.capacity // size)
    half, first = count // 2, source.start // size
    pattern = Pattern(size)
    disk.write(source.start, pattern.blocks(first, half))
    disk.write(source.start + half * size, pattern.blocks(first + half, count - half))
    disk.sync()
    pattern.check(disk.read(source.start, count * size), first, count, "in the source zone")
    how = _copy(disk, device, first, count, target.start // size, size)
    disk.sync()
    pattern.check(disk.read(target.start, count * size), first, count, "in the target zone")
    pointers = [ioctls.zones(disk.fd, zone.start, 1)[0].pointer for zone in (source, target)]
    if pointers != [zone.start + count * size for zone in (source, target)]:
        raise Mismatch(f"write pointers at {pointers} after {count * size} bytes in each zone")
    for zone in (source, target):
        ioctls.reset_zone(disk.fd, zone)
    return f"{count} blocks written at a write pointer and read; {how} to another zone"


def _copy(disk, device, source, count, target, size=0):
    """Copy blocks by the best way that this device has; which one, in words."""
    size = size or block_size(device)
    name = system.block_name(device)
    if os.path.exists(f"{system.BLOCK}/{name}/nsid"):
        import nvme_copy

        limits = nvme_copy.limits(name)
        if limits.supported and min(limits.mssrl, limits.mcl):
            return _nvme_copy(name, limits, source, count, target)
    if is_scsi(name):
        import xcopy

        if xcopy.supported(device):
            xcopy.copy(device, device, source, target, count)
            return f"Extended Copy of {count} blocks"
    try:
        done = os.copy_file_range(disk.fd, disk.fd, count * size, source * size, target * size)
        if done == count * size:
            return f"copy_file_range of {count} blocks"
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV):
            raise
    disk.write(target * size, disk.read(source * size, count * size))
    return f"no offload: {count} blocks read and written"


def _nvme_copy(name, limits, source, count, target):
    import nvme_copy

    most = min(limits.mssrl, limits.mcl)
    for at in range(0, count, most):
        nvme_copy.copy(name, source + at, min(most, count - at), target + at, limits.pi)
    return f"NVMe Copy of {count} blocks"


def _bad_parts(device):
    """The parts of a device that fail as it was told; see bad_parts_in."""
    name = f"{system.BLOCK}/{system.block_name(device)}/dm/name"
    if not os.path.exists(name):
        return []
    return bad_parts_in(system.run(["dmsetup", "table", system.read(name)]))


def bad_parts_in(table):
    """Offset and size in bytes of the parts of a device-mapper table whose target is `error`."""
    lines = [line.split() for line in table.splitlines()]
    return [
        (int(words[0]) * ioctls.SECTOR, int(words[1]) * ioctls.SECTOR)
        for words in lines
        if words[2] == "error"
    ]


def touches(parts, offset, size):
    """Whether bytes of one of the parts, each an offset and a size, are in a place."""
    return any(offset < start + length and start < offset + size for start, length in parts)


def _must_fail(disk, offset, size):
    """A read of bad parts ends with EIO."""
    try:
        disk.read(offset, size)
    except OSError as problem:
        if problem.errno == errno.EIO:
            return
        raise
    raise Mismatch(f"{size} bytes at {offset} were read; expected EIO, for the target is `error`")


def _read_only(device):
    """Everything can be read, and is what the data device below holds; nothing can be written."""
    below = _data_below(device)
    size = min(system.size_of(device), MOST)
    with Direct(device, write=False) as disk, Direct(below or device, write=False) as other:
        for at in range(0, size, CHUNK):
            length = min(CHUNK, size - at)
            data = disk.read(at, length)
            if len(data) != length:
                raise Mismatch(f"{len(data)} bytes read at {at}; expected {length}")
            if below and data != other.read(at, length):
                raise Mismatch(f"at {at} it is not what {below} holds")
    compared = f" and compared with {below}" if below else ""
    return f"{size // CHUNK} MiB read{compared}; a write is refused ({_refusal(device)})"


def _data_below(device):
    """The data device of a dm-verity device (Documentation/…/device-mapper/verity.rst)."""
    name = f"{system.BLOCK}/{system.block_name(device)}/dm/name"
    if not os.path.exists(name):
        return None
    words = system.run(["dmsetup", "table", system.read(name)]).split()
    if words[2] != "verity":
        return None
    return f"/dev/{os.path.basename(os.path.realpath(f'/sys/dev/block/{words[4]}'))}"


def _refusal(device):
    """The name of the error that a write gives."""
    try:
        with Direct(device) as disk:
            disk.write(0, disk.read(0, 4096))
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, str(problem))
    raise Mismatch("a write to a read-only device succeeded")
