# SPDX-License-Identifier: GPL-2.0-or-later
"""What a block device holds before there is a file system: blocks with their own number."""

import os

import system
from pattern import Pattern

BLOCK = 4096
PIECE = 1024
"""Blocks read or written at once."""

NUMBERED = Pattern(BLOCK, token=b"content".ljust(16))
"""Always the same, so that hashes of it are too."""


def fill(device, size):
    """Write numbered blocks to the first `size` bytes of a device, to the medium.

    A rest that is no whole block stays as it is.  Raises Failure.
    """
    blocks = size // BLOCK
    try:
        with open(device, "r+b") as file:
            for first in range(0, blocks, PIECE):
                file.write(NUMBERED.blocks(first, min(PIECE, blocks - first)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise system.failure(f"write {size} bytes to {device}", problem) from None


def is_blank(device, size=None):
    """Whether the first `size` bytes of a device, or all of it, are zero.  Raises Failure."""
    left = size or system.size_of(device)
    zeros = bytes(PIECE * BLOCK)
    try:
        with open(device, "rb", buffering=0) as file:
            while left > 0 and (piece := file.read(min(left, len(zeros)))):
                if piece != zeros[: len(piece)]:
                    return False
                left -= len(piece)
    except OSError as problem:
        raise system.failure(f"read {device}", problem) from None
    return True


def patience(size):
    """Seconds for a job on `size` bytes, at the pace of slow emulation."""
    return 60 + size / 2**20
