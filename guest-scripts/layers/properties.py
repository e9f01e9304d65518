# SPDX-License-Identifier: GPL-2.0-or-later
"""What the profile asks for, read back: what the kernel made of it, never what it was told.

The kernel takes much in silence: a loop device with direct I/O over larger blocks is buffered, a
namespace with blocks larger than a page has size 0.  Whoever makes something declares each property
that was asked for and where the kernel tells what became of it; what differs is refused.
"""

import system


class Asked:
    """A property: its `key` in the profile, what was `asked`, what was `made` of it, and `where`
    that was read; the `cure` of a difference, if there is one."""

    def __init__(self, key, asked, made, where, cure=""):
        self.key = key
        self.asked = asked
        self.made = made
        self.where = where
        self.cure = cure

    def told(self):
        """For the host."""
        return {"key": self.key, "asked": self.asked, "made": self.made, "where": self.where}

    def difference(self):
        """What is wrong, in words."""
        asked, made = text(self.key, self.asked), text(self.key, self.made)
        return f"{self.key}: {asked} asked, the kernel made it {made} ({self.where})"


def check(asked):
    """What to tell the host of the properties.  Raises Failure where one is not as asked."""
    asked = list(asked)
    wrong = [each for each in asked if each.made != each.asked]
    if wrong:
        said = "; ".join(each.difference() for each in wrong)
        cures = dict.fromkeys(each.cure for each in wrong if each.cure)
        raise system.Failure("not as asked", said, cure="; ".join(cures))
    return [each.told() for each in asked]


def text(key, value):
    """A value as a profile has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and key.rpartition(".")[2] in SIZES and value:
        import plain

        return plain.size_text(value)
    return "none" if value is None else str(value)


SIZES = ("size", "zone_size", "zone_capacity", "chunk", "region", "flush_granularity")
"""Keys whose values are written with a unit."""


def sysfs(device, attribute):
    """The path of an attribute of a block device in sysfs."""
    return f"{system.BLOCK}/{system.block_name(device)}/{attribute}"


def number(device, attribute):
    """A number in sysfs about a block device; None where the kernel has no such attribute."""
    try:
        return int(system.read(sysfs(device, attribute)))
    except (OSError, ValueError):
        return None


def write_cache(device):
    """Whether a device has a volatile write cache, as far as the kernel goes by it, and where that
    stands."""
    cached = system.queue(device, "write_cache") == "write back"
    return cached, sysfs(device, "queue/write_cache")
