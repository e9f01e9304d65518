# SPDX-License-Identifier: GPL-2.0-or-later
"""The path loop-reflink, the reference model: what a loop driver that offloads copies would do.

Ranges of the loop device are those of its backing file, where copy_file_range copies them.  Before
that the device's page cache is written back, and afterwards dropped; the backing file is synced,
as for a write with FUA.

Request:  {"op": "loops.copy", "path": "loop-reflink", "node": DEVICE,
           "ranges": [[offset, bytes], ...], "to": OFFSET, "emulate": false}
Answer:   {"errno": E, "done": RANGES, "seconds": T, "moved": MOVED}

MOVED is what was asked of the loop device meanwhile (meter.py).
"""

import fcntl
import os

import files
import system
from meter import Meter

# include/uapi/linux/fs.h
BLKFLSBUF = 0x1261


def copy(request):
    """Copy ranges of a loop device in its backing file."""
    name = system.block_name(request["node"])
    shift = int(system.read(f"{system.BLOCK}/{name}/loop/offset"))
    # Read-only, which is enough to flush it: udev probes a device that was open for writing.
    device = os.open(request["node"], os.O_RDONLY | os.O_CLOEXEC)
    backing = os.open(
        system.read(f"{system.BLOCK}/{name}/loop/backing_file"), os.O_RDWR | os.O_CLOEXEC
    )
    meter = Meter(request["node"])
    try:
        with meter.watching():
            os.fsync(device)
            by = files.by_hand if request.get("emulate") else files.by_copy_file_range
            wanted = [[offset + shift, size] for offset, size in request["ranges"]]
            answer = files.ranges(backing, backing, wanted, request["to"] + shift, by)
            fcntl.ioctl(device, BLKFLSBUF)
    finally:
        os.close(backing)
        os.close(device)
    return answer | {"moved": meter.moved()}
