# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers of dm-verity as the suite uses them: their disks, their tree, how they are opened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.errors import ProfileError
from lab.profile.layers.data import DIGESTS, DmVerity
from lab.suites.verity.medium import HashTree, Medium, root_hash
from lab.vm.disks import EmulatedDisk

SALT = "5a17" * 16
"""In hex; always the same, so that the same data have the same root hash."""
LEAST_BLOCKS = 1024
"""Blocks of data below which udev's looks at both ends of a device are too near to the middle."""


@dataclass(frozen=True)
class Target:
    """A layer of the profile as the suite uses it; `name` of the device that it makes."""

    layer: DmVerity
    data: EmulatedDisk
    hash: EmulatedDisk
    fec: EmulatedDisk | None
    name: str

    @property
    def size(self) -> int:
        """Bytes of a block, of data and of the tree."""
        return self.layer.block_size

    @property
    def tree(self) -> HashTree:
        """The tree of hashes."""
        blocks = self.data.drive.size // self.size
        return HashTree(blocks, self.size, DIGESTS[self.layer.algorithm])

    @property
    def rounds(self) -> int:
        """Blocks between two that share codewords: the data, and all of the tree's disk behind its
        superblock, are dealt out in turn (drivers/md/dm-verity-fec.c, fec_interleave; cryptsetup's
        lib/verity/verity_fec.c, VERITY_FEC_blocks)."""
        blocks = self.tree.blocks + self.hash.drive.size // self.size - 1
        return -(-blocks // (255 - self.layer.fec_roots))

    def formatting(self) -> list[str]:
        """How veritysetup makes the tree."""
        return [
            "veritysetup", "format", f"--hash={self.layer.algorithm}",
            f"--data-block-size={self.size}", f"--hash-block-size={self.size}",
            f"--salt={SALT}", *self._fec(), self.data.node, self.hash.node,
        ]  # fmt: skip

    def opening(self, root: str, options: Sequence[str], name: str = "") -> list[str]:
        """How veritysetup makes the device."""
        words = [self.data.node, name or self.name, self.hash.node, root]
        return ["veritysetup", "open", *options, *self._fec(), *words]

    def _fec(self) -> list[str]:
        if not self.fec:
            return []
        return [f"--fec-device={self.fec.node}", f"--fec-roots={self.layer.fec_roots}"]

    def bad(self, blocks: int) -> list[int]:
        """Blocks of data to be damaged, in the middle: see Damage."""
        count = blocks if blocks > 0 else self.layer.fec_roots - blocks
        first = self.tree.blocks * 3 // 8
        return [first + number * self.rounds for number in range(count)]

    def root(self, data: Medium) -> str:
        """The root hash of what is on the medium."""
        return root_hash(data, bytes.fromhex(SALT), self.layer.algorithm, self.tree.digest)


def targets(
    layers: Iterable[object], disks: dict[str, EmulatedDisk]
) -> tuple[Target, Target] | None:
    """The first layer without and the first with error correction, of those that stand on disks;
    None if there are not both.  Raises ProfileError when they are too small."""
    plain = fec = None
    for layer in layers:
        if not isinstance(layer, DmVerity):
            continue
        below = [disks.get(name) for name in (layer.over, layer.hash, layer.fec) if name]
        if None in below:
            continue
        data, tree, *more = filter(None, below)
        if more:
            fec = fec or Target(layer, data, tree, more[0], "lab-fec")
        else:
            plain = plain or Target(layer, data, tree, None, "lab-plain")
    if not plain or not fec:
        return None
    for target in (plain, fec):
        if target.tree.blocks < LEAST_BLOCKS:
            raise ProfileError(
                f"{target.layer.name}: {target.tree.blocks} blocks of data",
                hint=f"the suite verity wants {LEAST_BLOCKS} at least",
            )
    return plain, fec
