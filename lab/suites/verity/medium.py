# SPDX-License-Identifier: GPL-2.0-or-later
"""Media of a running guest, read and damaged from the host.

QEMU reads the same file through the same page cache: what is changed here is what the guest reads
next, unless it has it in memory.
"""

import hashlib
import mmap
import random
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.errors import GuestError


@dataclass(frozen=True)
class Medium:
    """A medium's file, in blocks of `size` bytes."""

    path: Path
    size: int

    @property
    def blocks(self) -> int:
        """Whole blocks there are."""
        return self.path.stat().st_size // self.size

    def read(self, block: int, count: int = 1) -> bytes:
        """The bytes of some blocks."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(block * self.size)
            return file.read(count * self.size)

    def fill(self, seed: str) -> None:
        """Write blocks that hold what `filled` says."""
        with self.path.open("r+b") as file:
            for block in range(self.blocks):
                file.write(filled(seed, block, self.size))

    def sum(self, block: int) -> int:
        """The CRC-32 of a block."""
        return zlib.crc32(self.read(block))

    def sums(self) -> list[int]:
        """The CRC-32 of each block."""
        data = memoryview(self.path.read_bytes())
        return [
            zlib.crc32(data[at : at + self.size])
            for at in range(0, self.blocks * self.size, self.size)
        ]

    def flip(self, block: int) -> None:
        """Flip a bit in the middle of a block."""
        with self.path.open("r+b", buffering=0) as file:
            at = block * self.size + self.size // 2
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 0x10]))

    @contextmanager
    def flipped(self, blocks: Sequence[int]) -> Iterator[None]:
        """Blocks with a bit flipped, which is flipped back at the end."""
        for block in blocks:
            self.flip(block)
        try:
            yield
        finally:
            for block in blocks:
                self.flip(block)

    def find(self, data: bytes) -> int:
        """The last block that holds these bytes.  Raises GuestError when none does."""
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as all_:
            at = all_.rfind(data)
        if at < 0 or at % self.size:
            raise GuestError(f"{self.path.name}: no block holds what the guest wrote")
        return at // self.size


def filled(seed: str, block: int, size: int) -> bytes:
    """What a block holds that was filled; guest-scripts/suites/checker says the same."""
    return random.Random(f"{seed}:{block}").randbytes(size)


@dataclass(frozen=True)
class HashTree:
    """A tree of hashes over `blocks` blocks of data (admin-guide/device-mapper/verity.rst, "Hash
    Tree"): behind the superblock's block the top, then level by level, the leaves last.

    `digest` is the bytes that a hash takes, filled up to a power of two.
    """

    blocks: int
    size: int
    digest: int

    @property
    def per_block(self) -> int:
        """Hashes in a block."""
        return self.size // self.digest

    @property
    def levels(self) -> list[int]:
        """Blocks of each level, the leaves first."""
        found = []
        left = self.blocks
        while left > 1:
            left = -(-left // self.per_block)
            found.append(left)
        return found

    @property
    def total(self) -> int:
        """Blocks of the tree, without the superblock's."""
        return sum(self.levels)

    def leaf(self, block: int) -> int:
        """The block of the hash device that has the hash of a block of data."""
        return 1 + sum(self.levels[1:]) + block // self.per_block

    def beside(self, block: int) -> range:
        """The blocks of data whose hashes stand in the same block of the tree."""
        first = block // self.per_block * self.per_block
        return range(first, min(first + self.per_block, self.blocks))


def root_hash(data: Medium, salt: bytes, algorithm: str, digest: int) -> str:
    """The root hash of a medium, in hex, reckoned here from nothing but its bytes."""

    def hashed(block: bytes) -> bytes:
        return hashlib.new(algorithm, salt + block).digest().ljust(digest, b"\0")

    level = [hashed(data.read(block)) for block in range(data.blocks)]
    per_block = data.size // digest
    while len(level) > 1:
        level = [
            hashed(b"".join(level[at : at + per_block]).ljust(data.size, b"\0"))
            for at in range(0, len(level), per_block)
        ]
    return level[0][: hashlib.new(algorithm).digest_size].hex()
