# SPDX-License-Identifier: GPL-2.0-or-later
"""The paths fs-cfr and fs-clone: copies within a file, by copy_file_range and by FICLONERANGE.

Request:  {"op": "files.copy", "path": "fs-cfr", "node": FILE, "ranges": [[offset, bytes], ...],
           "to": OFFSET, "emulate": false}
Answer:   {"errno": E, "done": RANGES, "seconds": T}

Each range is a call of its own, and an fsync follows: without it nothing would have reached the
disk, and nothing could fail.  An fsync that fails promises nothing, so "done" is 0 then.
"""

import errno
import os
import time

import allocations
import ioctls


def copy(request):
    """Copy the ranges of a file one after the other, and sync it."""
    by = by_clone if request["path"] == "fs-clone" else by_copy_file_range
    if request.get("emulate"):
        by = by_hand
    fd = os.open(request["node"], os.O_RDWR | os.O_CLOEXEC)
    try:
        return ranges(fd, fd, request["ranges"], request["to"], by)
    finally:
        os.close(fd)


def ranges(source, target, wanted, to, by):
    """Copy ranges with one of the functions below, sync the target, and answer."""
    start = time.monotonic()
    with allocations.counted():
        for done, (offset, size) in enumerate(wanted):
            try:
                by(source, offset, size, target, to)
            except OSError as problem:
                problem.done = done
                raise
            to += size
        os.fsync(target)
    return {"errno": 0, "done": len(wanted), "seconds": time.monotonic() - start}


def by_copy_file_range(source, offset, size, target, to):
    """copy_file_range(2), which may do less than it was asked for."""
    while size:
        done = os.copy_file_range(source, target, size, offset, to)
        if not done:
            # The kernel's way to say that the file ends, which it does not: what a caller makes
            # of it is an error.
            raise OSError(errno.ENODATA, f"copy_file_range has returned 0 at {offset}")
        offset, to, size = offset + done, to + done, size - done


def by_clone(source, offset, size, target, to):
    """FICLONERANGE: the blocks become shared."""
    ioctls.clone_range(source, offset, size, target, to)


def by_hand(source, offset, size, target, to):
    """What a caller without offload does: read and write."""
    os.pwrite(target, os.pread(source, size, offset), to)
