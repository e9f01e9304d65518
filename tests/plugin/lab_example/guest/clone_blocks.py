# SPDX-License-Identifier: GPL-2.0-or-later
"""The path fs-clone-blocks in the guest: requests and answers are those of files.py."""

import os

import files


def copy(request):
    """Clone the ranges of a file block by block, and sync it."""
    by = files.by_hand if request.get("emulate") else by_blocks
    fd = os.open(request["node"], os.O_RDWR | os.O_CLOEXEC)
    try:
        return files.ranges(fd, fd, request["ranges"], request["to"], by)
    finally:
        os.close(fd)


def by_blocks(source, offset, size, target, to):
    """A FICLONERANGE for each block."""
    block = os.fstatvfs(target).f_bsize
    for at in range(0, size, block):
        files.by_clone(source, offset + at, min(block, size - at), target, to + at)
