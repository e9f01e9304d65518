# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of dm-integrity, and of dm-crypt over it with and without its work queues."""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from errno import EILSEQ
from functools import partial

from lab.profile.layers.data import DmCrypt, DmIntegrity
from lab.suites.verity.checker import CheckFailure, differences, failing, told
from lab.suites.verity.medium import filled
from lab.suites.verity.scene import VerityCase, VerityScene, identical
from lab.vm.disks import EmulatedDisk

BLOCK = 4096
BLOCKS = 512
"""Blocks that are written and read."""
BAD = BLOCKS * 3 // 8
WRITERS = 4
_SECTOR = 512

NAME = "lab-integrity"
SECTION = "integrity"

WAYS = {"workqueue": (), "no-workqueue": ("no_read_workqueue", "no_write_workqueue")}
"""Where dm-crypt works (admin-guide/device-mapper/dm-crypt.rst), as options of its table."""

_MODES = {
    "journal": [],
    "bitmap": ["--integrity-bitmap-mode"],
    "direct": ["--integrity-no-journal"],
}


def expected(seed: str, blocks: int = BLOCKS) -> list[int]:
    """The CRC-32 of each block that was filled."""
    return [zlib.crc32(filled(seed, block, BLOCK)) for block in range(blocks)]


@dataclass
class Sectors:
    """The cases on a layer of dm-integrity that stands on a disk, and on one of dm-crypt over it if
    there is one; `seen` is what was read, by case and then by way."""

    integrity: DmIntegrity
    disk: EmulatedDisk
    crypt: DmCrypt | None
    seen: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    _formatted: bool = False

    def cases(self) -> Iterator[VerityCase]:
        """All cases."""
        yield VerityCase("write-read", self._write_read, SECTION)
        yield VerityCase("data-flipped", self._flipped, SECTION)
        yield VerityCase("data-read-error", self._read_error, SECTION)
        if not self.crypt:
            return
        for way in WAYS:
            yield VerityCase("write-read", partial(self._crypt_write_read, way), way)
            yield VerityCase("data-flipped", partial(self._crypt_flipped, way), way)
            yield VerityCase("load", partial(self._load, way), way)
        yield VerityCase("identical", lambda _: identical(self.seen))

    def endings(self) -> Iterator[VerityCase]:
        """None of them ends the guest."""
        return iter(())

    @contextmanager
    def side_by_side(self, scene: VerityScene) -> Iterator[dict[str, str]]:
        """Devices to be measured beside each other, by way; empty without dm-crypt."""
        with ExitStack() as opened:
            nodes: dict[str, str] = {}
            if self.crypt:
                opened.enter_context(self._opened(scene))
                for way in WAYS:
                    node = opened.enter_context(self._encrypted(scene, self.crypt, way))
                    nodes[way] = node
            yield nodes

    @contextmanager
    def _opened(self, scene: VerityScene) -> Iterator[str]:
        """The node of the device that keeps checksums, while it is open."""
        algorithm = f"--integrity={self.integrity.algorithm}"
        if not self._formatted:
            scene.require("modprobe", "dm-integrity")
            size = f"--sector-size={self.integrity.block_size}"
            words = ["integritysetup", "format", "--batch-mode", algorithm, size, self.disk.node]
            scene.checker.must(*words, extra=180)
            self._formatted = True
        mode = _MODES[self.integrity.mode]
        scene.checker.must("integritysetup", "open", algorithm, *mode, self.disk.node, NAME)
        with scene.closing("integritysetup", "close", NAME):
            yield f"/dev/mapper/{NAME}"

    @contextmanager
    def _encrypted(self, scene: VerityScene, crypt: DmCrypt, way: str) -> Iterator[str]:
        """The node of an encrypting device over the one with checksums."""
        below = f"/dev/mapper/{NAME}"
        said = scene.checker.must("blockdev", "--getsz", below)
        table = crypt_table(crypt, below, int(said.stdout), WAYS[way])
        name = f"lab-{way}"
        scene.checker.must("dmsetup", "create", name, text=table)
        with scene.closing("dmsetup", "remove", "--retry", name):
            there = scene.checker.must("dmsetup", "table", name).stdout
            if lacking := [option for option in WAYS[way] if option not in there]:
                raise CheckFailure(f"{', '.join(lacking)}: not in the table")
            yield f"/dev/mapper/{name}"

    def _write_read(self, scene: VerityScene) -> list[str]:
        with self._opened(scene) as node:
            scene.checker.write(node, BLOCK, BLOCKS, SECTION)
            self._check(scene, node, expected(SECTION))
        with self._opened(scene) as node:
            self._check(scene, node, expected(SECTION))
        return [f"{BLOCKS} blocks, read back at once and when it was opened again"]

    def _flipped(self, scene: VerityScene) -> list[str]:
        """A sector that is not what its checksum says cannot be read, until it is written."""
        with self._opened(scene) as node:
            scene.checker.write(node, BLOCK, BLOCKS, SECTION)
        medium = scene.medium(self.disk, _SECTOR)
        scene.spoil(medium, medium.find(filled(SECTION, BAD, BLOCK)[:_SECTOR]))
        with self._opened(scene) as node:
            wanted = failing(expected(SECTION), {BAD: EILSEQ})
            said = self._check(scene, node, wanted)
            scene.checker.write(node, BLOCK, BLOCKS, SECTION)
            self._check(scene, node, expected(SECTION))
        return [*said, f"block {BAD} is read again once it was written"]

    def _read_error(self, scene: VerityScene) -> list[str]:
        """A read error of the disk is one of the device."""
        with self._opened(scene) as node:
            scene.checker.write(node, BLOCK, BLOCKS, SECTION)
        medium = scene.medium(self.disk, _SECTOR)
        at = medium.find(filled(SECTION, BAD, BLOCK)[:_SECTOR])
        with self._opened(scene) as node:
            with scene.unreadable(self.disk, medium, [at]) as error:
                said = self._check(scene, node, failing(expected(SECTION), {BAD: error}))
            self._check(scene, node, expected(SECTION))
        return said

    def _crypt_write_read(self, way: str, scene: VerityScene) -> list[str]:
        """What one way writes either way reads, and it looks the same below."""
        assert self.crypt
        with self._opened(scene) as below:
            with self._encrypted(scene, self.crypt, way) as node:
                scene.checker.write(node, BLOCK, BLOCKS, "crypt")
                self._check(scene, node, expected("crypt"))
            for other in WAYS:
                with self._encrypted(scene, self.crypt, other) as node:
                    self._check(scene, node, expected("crypt"))
            encrypted = scene.checker.read(below, BLOCK, BLOCKS).sums[0]
        if not differences(encrypted, expected("crypt")):
            raise CheckFailure("what was written is not encrypted below")
        self._remember("encrypted", way, encrypted)
        return [f"{BLOCKS} blocks, read back either way"]

    def _crypt_flipped(self, way: str, scene: VerityScene) -> list[str]:
        """What dm-integrity finds below, dm-crypt passes on."""
        assert self.crypt
        with self._opened(scene) as below:
            with self._encrypted(scene, self.crypt, way) as node:
                scene.checker.write(node, BLOCK, BLOCKS, "crypt")
            encrypted = _first_sector(scene, below, BAD)
        medium = scene.medium(self.disk, _SECTOR)
        scene.spoil(medium, medium.find(encrypted))
        with self._opened(scene), self._encrypted(scene, self.crypt, way) as node:
            said = self._check(scene, node, failing(expected("crypt"), {BAD: EILSEQ}))
            self._remember("data-flipped", way, scene.checker.read(node, BLOCK, BLOCKS).sums[0])
        return said

    def _load(self, way: str, scene: VerityScene) -> list[str]:
        """Several writers and then several readers at once."""
        assert self.crypt
        with self._opened(scene), self._encrypted(scene, self.crypt, way) as node:
            scene.checker.write(node, BLOCK, BLOCKS, "load", WRITERS)
            said = self._check(scene, node, expected("load"), WRITERS)
            self._remember("load", way, scene.checker.read(node, BLOCK, BLOCKS).sums[0])
        return [*said, f"{WRITERS} writers, {WRITERS} readers, {BLOCKS} blocks: all the same"]

    def _check(
        self, scene: VerityScene, node: str, wanted: Sequence[int], readers: int = 1
    ) -> list[str]:
        """Read what was written; what the kernel said meanwhile.  Raises CheckFailure."""
        reading = scene.checker.read(node, BLOCK, len(wanted), readers)
        for sums in reading.sums:
            if wrong := differences(sums, wanted):
                raise CheckFailure(wrong)
        return told(reading.kernel)

    def _remember(self, case: str, way: str, sums: tuple[int, ...]) -> None:
        self.seen.setdefault(case, {})[way] = sums


def _first_sector(scene: VerityScene, node: str, block: int) -> bytes:
    """The first 512 bytes of a block of a device in the guest."""
    where = f"--skip-bytes={block * BLOCK}", f"--read-bytes={_SECTOR}"
    said = scene.checker.must("od", "-An", "-v", "-tx1", *where, node)
    return bytes.fromhex("".join(said.stdout.split()))


def crypt_table(crypt: DmCrypt, below: str, sectors: int, options: Sequence[str]) -> str:
    """A table of dm-crypt with these options, whatever queues the layer has.

    The key is made as the layer's is (guest-scripts/layers/data.py), from its name.
    """
    key = hashlib.sha512(crypt.name.encode()).hexdigest()[: crypt.key_size // 4]
    sectors -= sectors % (crypt.sector_size // _SECTOR)
    more = list(options)
    if crypt.sector_size != _SECTOR:
        more += [f"sector_size:{crypt.sector_size}", "iv_large_sectors"]
    words = ["0", str(sectors), "crypt", crypt.cipher, key, "0", below, "0"]
    return " ".join([*words, *([str(len(more)), *more] if more else [])]) + "\n"
