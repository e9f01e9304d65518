# SPDX-License-Identifier: GPL-2.0-or-later
"""The paths bdev-cfr and bdev-ioctl: what the block-layer series offer to user space.

bdev-cfr is copy_file_range between block devices, as in the series since 2022 ("block: Add copy
offload support"); bdev-ioctl is BLKCOPY of the series before them.  Mainline has neither.

Request:  {"op": "bdev.copy", "path": "bdev-cfr", "node": DEVICE,
           "ranges": [[offset, bytes], ...], "to": OFFSET, "direct": [SOURCE, TARGET],
           "source": DEVICE, "emulate": false}
Answer:   {"errno": E, "done": RANGES, "seconds": T, "moved": MOVED}

`source` is the device that is read, if it is another one.  SOURCE and TARGET say whether these ends
are open with O_DIRECT; MOVED is what was asked of the target's device meanwhile (meter.py).
"""

import array
import fcntl
import mmap
import os
import struct
import time
from contextlib import ExitStack

import allocations
import files
from direct import open_node
from meter import Meter

# "block: Introduce a new ioctl for copy": _IOWR(0x12, 129, struct copy_range); the structure is
# __u64 dest, nr_range, range_list, rsvd, and each range __u64 src, len, comp_len, rsvd.
BLKCOPY = 0xC0201281


def copy(request):
    """Copy ranges of a block device by the kernel, and flush it."""
    meter = Meter(request["node"])
    source, target = (os.O_DIRECT if direct else 0 for direct in request["direct"])
    with meter.watching(), ExitStack() as opened:
        ends = []
        nodes = (request.get("source", request["node"]), request["node"])
        for node, mode in zip(nodes, (os.O_RDONLY | source, os.O_RDWR | target), strict=True):
            ends.append(open_node(node, mode))
            opened.callback(os.close, ends[-1])
        if request["path"] == "bdev-ioctl":
            answer = by_ioctl(ends[1], request["ranges"], request["to"])
        else:
            by = by_hand if request.get("emulate") else files.by_copy_file_range
            try:
                answer = files.ranges(*ends, request["ranges"], request["to"], by)
            except OSError as problem:
                settle(ends[1], problem)
                raise
    return answer | {"moved": meter.moved()}


def settle(target, problem):
    """Write out what the page cache has of the ranges that were done before an error."""
    try:
        os.fsync(target)
    except OSError:
        problem.done = 0


def by_hand(source, offset, size, target, to):
    """What a caller without offload does: read and write."""
    with mmap.mmap(-1, size) as memory:  # page-aligned, as O_DIRECT wants it
        os.preadv(source, [memory], offset)
        os.pwritev(target, [memory], to)


def by_ioctl(fd, ranges, to):
    """One BLKCOPY with all ranges, and a flush."""
    start = time.monotonic()
    entries = array.array(
        "B", b"".join(struct.pack("<QQQQ", offset, size, 0, 0) for offset, size in ranges)
    )
    address, _ = entries.buffer_info()
    command = bytearray(struct.pack("<QQQQ", to, len(ranges), address, 0))
    with allocations.counted():
        fcntl.ioctl(fd, BLKCOPY, command)
        os.fsync(fd)
    return {"errno": 0, "done": len(ranges), "seconds": time.monotonic() - start}
