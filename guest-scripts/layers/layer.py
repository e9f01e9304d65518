# SPDX-License-Identifier: GPL-2.0-or-later
"""What a layer is in the guest: up, down, and what came of it."""

import os

import system

LINKS = "/dev/lab"


class Made:
    """What a layer offers: block devices by part ('' for the layer itself), a mount point, or
    something to another guest, whose place in configfs is `export`.

    `keep` is what it must be told again after a reboot of the guest; the host keeps it.
    """

    def __init__(self, devices=None, mount=None, keep=None, export=None):
        self.devices = devices or {}
        self.mount = mount
        self.keep = keep or {}
        self.export = export


class Layer:
    """One layer, made from its model's JSON (lab/profile/layers).

    `up` may find it up already, `down` may find it down; either then does nothing.  After a
    reboot of the guest `up` finds its own data on the medium and leaves them alone.  Both raise
    system.Failure.  `kept` is what `up` gave as Made.keep before a reboot, `described` the
    whole of the host's description (its "address" and "peer" on the private link).
    """

    def __init__(self, spec, kept=None, described=None):
        self.name = spec["name"]
        self.spec = spec
        self.kept = kept or {}
        self.described = described or {}

    def uses(self):
        """The references of what it stands on."""
        return [self.spec["over"]]

    def up(self):
        """Make it, and return what was Made."""
        raise NotImplementedError

    def asked(self, made):
        """The properties that the profile asks of what was Made, and what the kernel made of them:
        properties.Asked objects.  What a layer takes on trust is not among them."""
        return ()

    def mend(self):
        """Make good what the trials of its capabilities have done to it; what that was, in words,
        '' if nothing."""
        return ""

    def fails_at_times(self):
        """Why its requests may fail now, and not a moment later; '' if they do not."""
        return ""

    def down(self):
        """Take it away."""
        raise NotImplementedError


def path_of(reference):
    """Where a disk or a layer below is: its device node, or its mount point."""
    link = f"{LINKS}/{reference}"
    return os.path.realpath(link) if os.path.islink(link) else None


def device_below(reference):
    """The device node of a disk or layer.  Raises Failure when it is not up."""
    path = path_of(reference)
    if path is None:
        raise system.Failure(reference, "is not up")
    return path


def set_link(reference, path):
    """Let /dev/lab/REFERENCE lead to a device node or a mount point."""
    os.makedirs(LINKS, exist_ok=True)
    link = f"{LINKS}/{reference}"
    new = f"{link}.new"
    os.symlink(path, new)
    os.replace(new, link)


def remove_links(name):
    """Remove the links of a layer and its parts."""
    if not os.path.isdir(LINKS):
        return
    for link in os.listdir(LINKS):
        if link.partition(":")[0] == name:
            os.unlink(f"{LINKS}/{link}")


def seconds(text):
    """The seconds of a duration as the profile's JSON writes it: `0.02s`."""
    return float(text.removesuffix("s"))
