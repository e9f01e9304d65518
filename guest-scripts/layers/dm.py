# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper devices by dmsetup, named like their layers."""

import os

import properties
import system
from layer import Layer, Made, device_below


class Mapped(Layer):
    """A layer that is one device-mapper device with a table of its own."""

    module = ""
    """Kernel module of its target."""
    stands_on = ("over",)
    """The keys that name the devices it stands on; they may be null."""

    def uses(self):
        return [self.spec[key] for key in self.stands_on if self.spec[key]]

    def up(self):
        if not is_up(self.name):
            system.modprobe("dm_mod", self.module)
            self.make()
        return Made({"": path_of(self.name)})

    def make(self):
        """Make the device."""
        create(self.name, self.table())

    def table(self):
        """The lines of the table: start, sectors, target and arguments."""
        raise NotImplementedError

    def asked(self, made):
        """That each line of the table is there, and then what `options` says."""
        lines = [line.split() for line in self.table()]
        found = in_effect(self.name)
        yield read("targets", _targets(lines), _targets(found))
        yield from self.options_asked(found[0])

    def options_asked(self, words):
        """The properties that the words of the table in effect, of its first line, tell."""
        return ()

    def down(self):
        remove(self.name)

    def below(self, key="over"):
        """The device node that a key of the layer names."""
        return device_below(self.spec[key])

    def sectors(self, key="over"):
        """Sectors of the device that a key of the layer names."""
        return system.size_of(self.below(key)) // system.SECTOR


def read(key, asked, made, where="dmsetup table"):
    """A property that the table in effect tells."""
    return properties.Asked(key, asked, made, where)


def in_effect(name):
    """The words of each line of the table in effect.  Raises Failure."""
    return [line.split() for line in system.run(["dmsetup", "table", name]).splitlines()]


def _targets(lines):
    """Where each target of a table begins, and how long it is."""
    return ", ".join(" ".join(words[:3]) for words in lines)


def option(words, name, default=None):
    """The value of an option `name:value` in a table's words."""
    found = [word.partition(":")[2] for word in words if word.partition(":")[0] == name]
    return found[0] if found else default


def path_of(name):
    """The node of a device."""
    return f"/dev/mapper/{name}"


def is_up(name):
    """Whether a device of that name is there."""
    return os.path.exists(path_of(name))


def create(name, table):
    """Make a device.  Raises Failure; the kernel's log then says what dmsetup cannot."""
    try:
        system.run(["dmsetup", "create", name], text="\n".join(table) + "\n")
    except system.Failure:
        # A device whose table the kernel refused would stay, without a table.
        remove(name)
        raise
    system.settle()
    system.wait_for(lambda: is_up(name), path_of(name))


def reload(name, table):
    """Give a read-only device another table.  Raises Failure, and it keeps the one it has."""
    system.run(["dmsetup", "reload", "--readonly", name, "--table", table])
    system.run(["dmsetup", "suspend", name])
    system.run(["dmsetup", "resume", name])


def message(name, text):
    """Tell a device's target something.  Raises Failure."""
    system.run(["dmsetup", "message", name, "0", text])


def status(name):
    """The words of a device's status, from the target's name on."""
    return system.run(["dmsetup", "status", name]).split()[2:]


def remove(name):
    """Take a device away, if it is there.  Raises Failure."""
    if system.works(["dmsetup", "info", name]):
        system.run(["dmsetup", "remove", "--retry", name])
