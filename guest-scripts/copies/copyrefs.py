# SPDX-License-Identifier: GPL-2.0-or-later
"""The path copyref: one ioctl with all source ranges, which the driver carries out in its file.

Request:  {"op": "copyrefs.copy", "path": "copyref", "node": DEVICE,
           "ranges": [[offset, bytes], ...], "to": OFFSET, "emulate": false}
Answer:   {"errno": E, "done": RANGES, "seconds": T, "moved": MOVED}

The copy is durable when it succeeds.  "done" are the ranges that are whole in what the driver says
it has copied, MOVED is what was asked of the disk meanwhile (meter.py).
"""

import array
import ctypes
import os
import struct
import time

import allocations
import files
from direct import open_node
from meter import Meter

# images/kernel/modules/copyref/copyref.h: _IOWR(0xc4, 1, struct copyref_copy), and the structure
COPYREF_COPY = 0xC020C401
COPY = struct.Struct("<QIIQQ")
RANGE = struct.Struct("<QQ")
DURABLE = 1

# fcntl.ioctl() of a newer Python leaves a buffer as it was where the call fails.
_IOCTL = ctypes.CDLL(None, use_errno=True).ioctl
_IOCTL.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)


def copy(request):
    """Copy ranges of a copyref disk."""
    meter = Meter(request["node"])
    by = by_hand if request.get("emulate") else by_ioctl
    with meter.watching():
        fd = open_node(request["node"], os.O_RDWR)
        try:
            answer = by(fd, request["ranges"], request["to"])
        finally:
            os.close(fd)
    return answer | {"moved": meter.moved()}


def by_ioctl(fd, ranges, to):
    """One COPYREF_COPY with all ranges.  Raises OSError, with those that are `done`."""
    start = time.monotonic()
    entries = array.array("B", b"".join(RANGE.pack(*each) for each in ranges))
    address, _ = entries.buffer_info()
    given = COPY.pack(address, len(ranges), DURABLE, to, 0)
    command = ctypes.create_string_buffer(given, COPY.size)
    # What a task calls for the first time makes allocations, which are none of the copy's.
    _IOCTL(-1, 0, None)
    with allocations.counted():
        failed = _IOCTL(fd, COPYREF_COPY, command)
    if failed:
        number = ctypes.get_errno()
        problem = OSError(number, os.strerror(number))
        problem.done = whole(ranges, COPY.unpack(command.raw)[-1])
        raise problem
    return {"errno": 0, "done": len(ranges), "seconds": time.monotonic() - start}


def whole(ranges, done):
    """How many ranges are whole in so many bytes."""
    count = 0
    for _, size in ranges:
        done -= size
        if done < 0:
            break
        count += 1
    return count


def by_hand(fd, ranges, to):
    """Read and write, and sync."""
    return files.ranges(fd, fd, ranges, to, files.by_hand)
