# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper targets that change or check data: verity, crypt, integrity."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from lab.profile.base import Conflict
from lab.profile.fields import Span, Text
from lab.profile.layers.base import Node, Over, Reference, Use
from lab.profile.units import format_size

DIGESTS = {"sha1": 32, "sha256": 32, "sha512": 64}
"""Bytes that a hash takes in the tree: a power of two."""


def _whole(size: int | None, block_size: int) -> int | None:
    """The bytes of the whole blocks in a size."""
    return size and size // block_size * block_size


class DmVerity(Over):
    """Checks every block that is read against a tree of hashes."""

    guest_class = "data.Verity"
    type: Literal["dm-verity"] = Field(description="Checks what is read against a tree of hashes")
    hash: Reference = Field(description="The block device for the tree of hashes")
    fec: Reference | None = Field(
        None, description="A block device for forward error correction, which repairs bad blocks"
    )
    fec_roots: Annotated[int, Span(2, 24, "parity bytes")] = Field(
        2, description="Parity bytes of each codeword: how much can be repaired"
    )
    algorithm: Literal["sha256", "sha512", "sha1"] = Field("sha256", description="Hash")
    block_size: Literal[512, 1024, 2048, 4096] = Field(
        4096, description="Bytes of a block of data, and of the tree"
    )
    tasklet: bool = Field(
        False, description="Check in a tasklet instead of a work queue (try_verify_in_tasklet)"
    )
    check_once: bool = Field(
        False, description="Check each block at its first read only (check_at_most_once)"
    )
    corruption: Literal["error", "ignore", "restart", "panic"] = Field(
        "error", description="What a bad block does: a read error, nothing, a reboot, a panic"
    )
    error: Literal["error", "restart", "panic"] = Field(
        "error",
        description="What a block does that cannot be read: a read error, a reboot "
        "(restart_on_error), a panic (panic_on_error)",
    )

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over)
        yield Use(("hash",), self.hash)
        if self.fec:
            yield Use(("fec",), self.fec)

    def misfits(self, below: Sequence[Node]) -> Iterator[Conflict]:
        data = below[0].size
        if data is None:
            return
        tree = tree_size(data, self.block_size, self.algorithm)
        # Error correction covers the whole device that has the tree.
        hashes = max(tree, below[1].size or 0)
        needed = [("hash", tree), ("fec", fec_size(data, hashes, self.block_size, self.fec_roots))]
        for (key, least), node in zip(needed, below[1:], strict=False):
            if node.size is not None and node.size < least:
                yield (
                    (key,),
                    f"{format_size(least)} are needed of {node.ref}, which has "
                    f"{format_size(node.size)}; expected less of {below[0].ref}, or more of this",
                )

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        block = max(below[0].block_size, self.block_size)
        size = _whole(below[0].size, self.block_size)
        yield Node(self.name, "block", size, block, read_only=True)


def tree_size(data: int, block_size: int, algorithm: str) -> int:
    """Bytes of the superblock and the tree of hashes that veritysetup makes of so many bytes
    (admin-guide/device-mapper/verity.rst, "Hash Tree")."""
    per_block = block_size // DIGESTS[algorithm]
    blocks, level = 1, data // block_size
    while level > 1:
        level = -(-level // per_block)
        blocks += level
    return blocks * block_size


def fec_size(data: int, tree: int, block_size: int, roots: int) -> int:
    """Bytes of error correction for data and the tree's device: `roots` parity bytes go with every
    255 - roots bytes (cryptsetup, lib/verity/verity_fec.c, VERITY_FEC_blocks)."""
    covered = data // block_size + tree // block_size
    return -(-covered // (255 - roots)) * roots * block_size


class DmCrypt(Over):
    """Encrypts, with a key made from the layer's name: what it protects are tests."""

    guest_class = "data.Crypt"
    type: Literal["dm-crypt"] = Field(description="Encrypts, with a key made from its name")
    cipher: Annotated[
        str, Text(r"[a-z0-9()]+-[a-z0-9]+-[a-z0-9:()]+", "a cipher such as aes-xts-plain64")
    ] = Field("aes-xts-plain64", description="Cipher, mode and initialisation vector")
    key_size: Literal[128, 192, 256, 512] = Field(512, description="Bits of the key")
    sector_size: Literal[512, 1024, 2048, 4096] = Field(512, description="Bytes encrypted as one")
    no_read_workqueue: bool = Field(False, description="Decrypt where a read ends")
    no_write_workqueue: bool = Field(False, description="Encrypt where a write begins")

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, zoned=None)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        block = max(below[0].block_size, self.sector_size)
        size = _whole(below[0].size, self.sector_size)
        yield replace(below[0], ref=self.name, size=size, block_size=block, within="")


class DmIntegrity(Over):
    """Keeps a checksum for every sector."""

    guest_class = "data.Integrity"
    type: Literal["dm-integrity"] = Field(description="Keeps a checksum for every sector")
    algorithm: Literal["crc32c", "crc32", "sha1", "sha256"] = Field(
        "crc32c", description="Checksum"
    )
    mode: Literal["journal", "bitmap", "direct"] = Field(
        "journal",
        description="How data and checksum stay together in a crash: written twice, marked in a "
        "bitmap, or not at all",
    )
    block_size: Literal[512, 1024, 2048, 4096] = Field(512, description="Bytes of a sector")

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        # What is left for data depends on the layout that integritysetup chooses.
        yield Node(self.name, "block", None, max(below[0].block_size, self.block_size))
