# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks that say which they are, so that what is read tells what went wrong."""

import os
import struct

MARK = struct.Struct("<8s16sQ")
MAGIC = b"labblock"


class NotVerified(Exception):
    """There is nothing here that could be written, read back and copied."""


class Mismatch(Exception):
    """What was read is not what was written."""


class Pattern:
    """Blocks of `size` bytes, a multiple of 32, numbered, of one occasion.

    Every 32 bytes of a block hold a magic word, the occasion's token and the block's number: torn,
    misplaced and stale blocks look different.
    """

    def __init__(self, size, token=None):
        self.size = size
        self.token = token or os.urandom(16)

    def blocks(self, first, count):
        """The bytes of `count` blocks, numbered from `first`."""
        return b"".join(self._block(number) for number in range(first, first + count))

    def _block(self, number):
        return MARK.pack(MAGIC, self.token, number) * (self.size // MARK.size)

    def check(self, data, first, count, where):
        """Raise Mismatch unless `data` are the blocks from `first` on; `where` says where."""
        if data == self.blocks(first, count):
            return
        if len(data) != count * self.size:
            raise Mismatch(f"{where}: {len(data)} bytes read; expected {count * self.size}")
        for index in range(count):
            block = data[index * self.size : (index + 1) * self.size]
            if block != self._block(first + index):
                raise Mismatch(f"{where}: block {index} of {count} {self._wrong(block)}")

    def _wrong(self, block):
        """What a block is that is not the one expected."""
        magic, token, number = MARK.unpack_from(block)
        if not any(block):
            return "is all zeroes"
        if magic != MAGIC:
            return f"is something else: it begins with {block[:16].hex()}"
        if block != Pattern(self.size, token)._block(number):
            return "is torn, or damaged"
        if token != self.token:
            return f"is stale: block {number} of an earlier pattern"
        return f"is misplaced: it is block {number} of this pattern"
