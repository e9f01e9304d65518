# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper targets that change or check data."""

import hashlib

import content
import dm
import system
from layer import Made

SALT = "1ab" * 21 + "5"
"""Salt of the hash trees, in hex, always the same: the same data have the same root hash."""

CORRUPTION = {
    "error": [],
    "ignore": ["--ignore-corruption"],
    "restart": ["--restart-on-corruption"],
    "panic": ["--panic-on-corruption"],
}

LETTERS = {"J": "journal", "B": "bitmap", "D": "direct"}
"""How the table in effect writes a mode."""

MODES = {"journal": [], "bitmap": ["--integrity-bitmap-mode"], "direct": ["--integrity-no-journal"]}


class Verity(dm.Mapped):
    """dm-verity (Documentation/admin-guide/device-mapper/verity.rst), by veritysetup."""

    module = "dm_verity"
    stands_on = ("over", "hash", "fec")

    def up(self):
        if not self.kept:
            self.kept = {"root_hash": self._root_hash()}
        made = super().up()
        return Made(made.devices, keep=self.kept)

    def _root_hash(self):
        """The root hash of the tree on the hash device, which is made if there is none."""
        device = self.below("hash")
        if content.is_blank(device, content.BLOCK):
            self._format()
        with open(device, "rb") as file:
            return root_hash(file.read(2 * content.BLOCK))

    def _format(self):
        data = self.below()
        if content.is_blank(data):
            content.fill(data, system.size_of(data))
        system.run(
            ["veritysetup", "format", *self.format_options(), data, self.below("hash")],
            content.patience(system.size_of(data)),
        )

    def format_options(self):
        """What veritysetup is told when the tree is made."""
        return [
            f"--hash={self.spec['algorithm']}",
            f"--data-block-size={self.spec['block_size']}",
            f"--hash-block-size={self.spec['block_size']}",
            f"--salt={SALT}",
            *self._fec_options(),
        ]

    def open_options(self):
        """What veritysetup is told at every `up`."""
        return [
            *(["--use-tasklets"] if self.spec["tasklet"] else []),
            *(["--check-at-most-once"] if self.spec["check_once"] else []),
            *CORRUPTION[self.spec["corruption"]],
            *self._fec_options(),
        ]

    def _fec_options(self):
        if not self.spec["fec"]:
            return []
        return [f"--fec-device={self.below('fec')}", f"--fec-roots={self.spec['fec_roots']}"]

    def make(self):
        words = [self.below(), self.name, self.below("hash"), self.kept["root_hash"]]
        system.run(["veritysetup", "open", *self.open_options(), *words])
        if self.spec["error"] != "error":
            self._restart_or_panic(f"{self.spec['error']}_on_error")

    def _restart_or_panic(self, feature):
        """Add a feature for which veritysetup has no option.  Raises Failure."""
        table = with_feature(system.run(["dmsetup", "table", self.name]), feature)
        try:
            dm.reload(self.name, table)
        except system.Failure:
            self.down()
            raise

    def asked(self, made):
        # drivers/md/dm-verity-target.c, verity_status: version, two devices, two block sizes,
        # blocks, start, algorithm, digest, salt, number of options, options
        (words,) = dm.in_effect(self.name)
        options = words[14:]
        yield dm.read("block_size", [self.spec["block_size"]] * 2, [int(w) for w in words[6:8]])
        yield dm.read("algorithm", self.spec["algorithm"], words[10])
        yield dm.read("tasklet", self.spec["tasklet"], "try_verify_in_tasklet" in options)
        yield dm.read("check_once", self.spec["check_once"], "check_at_most_once" in options)
        yield dm.read("corruption", self.spec["corruption"], on_corruption(options))
        yield dm.read("fec", bool(self.spec["fec"]), "use_fec_from_device" in options)
        if self.spec["fec"]:
            roots = int(options[options.index("fec_roots") + 1])
            yield dm.read("fec_roots", self.spec["fec_roots"], roots)


def with_feature(table, feature):
    """The table of a verity device with one more feature: behind the salt stands how many there
    are, if any (drivers/md/dm-verity-target.c, verity_ctr)."""
    words = table.split()
    mandatory, features = words[:13], words[14:]
    return " ".join([*mandatory, str(len(features) + 1), *features, feature])


def on_corruption(options):
    """What a bad block does, by the options of the table in effect."""
    told = [word.partition("_")[0] for word in options if word.endswith("_corruption")]
    return told[0] if told else "error"


def root_hash(start):
    """The root hash of a tree, in hex, from the first 8 KiB of its device.

    The superblock of cryptsetup's lib/verity/verity.c (struct verity_sb: signature, version, type,
    UUID, 32 bytes of algorithm, block sizes of data and tree, blocks of data, size of salt, salt)
    has a block for itself; the next one is the tree's top, and the root is that one's hash.
    Raises Failure where there is none.
    """
    if start[:8] != b"verity\0\0":
        raise system.Failure("the hash device", "has something else on it; expected nothing")
    algorithm = start[32:64].rstrip(b"\0").decode()
    block_size = int.from_bytes(start[68:72], "little")
    salt_size = int.from_bytes(start[80:82], "little")
    digest = hashlib.new(algorithm, start[88 : 88 + salt_size])
    digest.update(start[block_size : 2 * block_size])
    return digest.hexdigest()


class Crypt(dm.Mapped):
    """dm-crypt (Documentation/admin-guide/device-mapper/dm-crypt.rst) with a key from its name."""

    module = "dm_crypt"

    def table(self):
        # The target wants whole sectors of its own size.
        sector = self.spec["sector_size"]
        sectors = self.sectors() * system.SECTOR // sector * sector // system.SECTOR
        options = self.options()
        words = [self.spec["cipher"], self.key(), "0", self.below(), "0"]
        if options:
            words += [str(len(options)), *options]
        yield f"0 {sectors} crypt {' '.join(words)}"

    def key(self):
        """The key, in hex."""
        return hashlib.sha512(self.name.encode()).hexdigest()[: self.spec["key_size"] // 4]

    def options(self):
        """Optional arguments of the table."""
        options = [key for key in ("no_read_workqueue", "no_write_workqueue") if self.spec[key]]
        if self.spec["sector_size"] != system.SECTOR:
            # As LUKS2 has it: initialisation vectors count sectors of that size.
            options += [f"sector_size:{self.spec['sector_size']}", "iv_large_sectors"]
        return options

    def options_asked(self, words):
        yield dm.read("cipher", self.spec["cipher"], words[3])
        # Over zones the kernel adds one of its own: writes must not overtake each other.
        asked = self.options()
        yield dm.read("options", asked, [option for option in asked if option in words[9:]])


class Integrity(dm.Mapped):
    """dm-integrity (admin-guide/device-mapper/dm-integrity.rst), by integritysetup."""

    module = "dm_integrity"

    def make(self):
        device = self.below()
        if content.is_blank(device, content.BLOCK):
            self._format(device)
        mode = MODES[self.spec["mode"]]
        system.run(["integritysetup", "open", *self._algorithm(), *mode, device, self.name])

    def _format(self, device):
        # It writes everything once, without a journal: a sector without a checksum cannot be read.
        block_size = f"--sector-size={self.spec['block_size']}"
        system.run(
            ["integritysetup", "format", "--batch-mode", *self._algorithm(), block_size, device],
            content.patience(system.size_of(device)),
        )

    def asked(self, made):
        # drivers/md/dm-integrity.c, dm_integrity_status: device, start, size of a tag, mode, number
        # of options, options
        (words,) = dm.in_effect(self.name)
        yield dm.read("mode", self.spec["mode"], LETTERS.get(words[6], words[6]))
        algorithm = dm.option(words, "internal_hash")
        yield dm.read("algorithm", self.spec["algorithm"], algorithm)
        block_size = int(dm.option(words, "block_size", system.SECTOR))
        yield dm.read("block_size", self.spec["block_size"], block_size)

    def _algorithm(self):
        return [f"--integrity={self.spec['algorithm']}"]
