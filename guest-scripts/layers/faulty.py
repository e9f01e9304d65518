# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper targets that fail, wait, write down or put off what passes."""

import dm
import system
from layer import seconds


class Flakey(dm.Mapped):
    """dm-flakey (Documentation/admin-guide/device-mapper/dm-flakey.rst)."""

    module = "dm_flakey"

    def table(self):
        words = [word for feature in self.spec["features"] for word in feature.split()]
        features = f" {len(words)} {' '.join(words)}" if words else ""
        up, down = seconds(self.spec["up"]), seconds(self.spec["down"])
        yield f"0 {self.sectors()} flakey {self.below()} 0 {up:.0f} {down:.0f}{features}"

    def fails_at_times(self):
        up, down = self.spec["up"], self.spec["down"]
        return f"{self.name} works for {up} and fails for {down}" if seconds(down) else ""

    def options_asked(self, words):
        # drivers/md/dm-flakey.c, flakey_status: device, start, up, down, features and their number
        for key, word in zip(("up", "down"), words[5:7], strict=True):
            yield dm.read(key, seconds(self.spec[key]), float(word))
        # Without any it names those that it then has: error_reads and error_writes.
        if features := sorted(word for each in self.spec["features"] for word in each.split()):
            yield dm.read("features", features, sorted(words[8:]))


class Error(dm.Mapped):
    """dm-error for the bad parts, dm-linear for what is between them."""

    module = "dm_mod"

    def table(self):
        end = self.sectors()
        bad = [
            (part["offset"] // system.SECTOR, part["size"] // system.SECTOR)
            for part in self.spec["bad"]
        ] or [(0, end)]
        at = 0
        for start, sectors in bad:
            if at < start:
                yield self._line(at, start - at, "linear")
            yield self._line(start, sectors, "error")
            at = start + sectors
        if at < end:
            yield self._line(at, end - at, "linear")

    def _line(self, start, sectors, target):
        # The error target fails with or without a device; it takes block size and zones from it
        # (drivers/md/dm-target.c, io_err_ctr; before 6.7 it ignored arguments).
        return f"{start} {sectors} {target} {self.below()} {start}"


class Delay(dm.Mapped):
    """dm-delay (Documentation/admin-guide/device-mapper/delay.rst), with all three groups."""

    module = "dm_delay"

    def table(self):
        groups = [
            f"{self.below()} 0 {seconds(self.spec[key]) * 1000:.0f}"
            for key in ("read", "write", "flush")
        ]
        yield " ".join([f"0 {self.sectors()} delay", *groups])

    def options_asked(self, words):
        # drivers/md/dm-delay.c, delay_status: device, start and milliseconds of each group
        for key, word in zip(("read", "write", "flush"), words[5::3], strict=True):
            yield dm.read(key, seconds(self.spec[key]), int(word) / 1000)


class Dust(dm.Mapped):
    """dm-dust (Documentation/admin-guide/device-mapper/dm-dust.rst), its bad blocks enabled."""

    module = "dm_dust"

    def make(self):
        super().make()
        try:
            for block in self.spec["bad_blocks"]:
                dm.message(self.name, f"addbadblock {block}")
            dm.message(self.name, "enable")
        except system.Failure:
            # Found up again, it would pass for complete.
            dm.remove(self.name)
            raise

    def table(self):
        yield f"0 {self.sectors()} dust {self.below()} 0 {self.spec['block_size']}"

    def options_asked(self, words):
        yield dm.read("block_size", self.spec["block_size"], int(words[5]))


class Reorder(dm.Mapped):
    """dm-reorder, by the lab's own module (images/kernel/modules/dm-reorder)."""

    module = "dm_mod"

    def make(self):
        system.insmod("dm-reorder")
        super().make()

    def table(self):
        yield f"0 {self.sectors()} reorder {self.below()}"


class LogWrites(dm.Mapped):
    """dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst).

    The kernel begins a new log whenever the device is made, so also after a reboot.
    """

    module = "dm_log_writes"
    stands_on = ("over", "log")

    def table(self):
        yield f"0 {self.sectors()} log-writes {self.below()} {self.below('log')}"
