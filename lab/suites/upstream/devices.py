# SPDX-License-Identifier: GPL-2.0-or-later
"""What is free on a profile for a suite that tests devices, or file systems that it makes."""

from lab.profile.layers.filesystems import Btrfs, Ext4, F2fs, Xfs
from lab.profile.models import Profile, stack

Testable = Ext4 | Xfs | Btrfs | F2fs
"""Layers that a suite can make itself, and test."""

LINKS = "/dev/lab"
"""The directory in the guest with a link to each disk and layer, by its name in the profile."""


def boot_profile(profile: Profile) -> Profile:
    """The profile without the file systems on top: they are made and mounted by the suite."""
    tops = {layer.name for layer in top_file_systems(profile)}
    layers = tuple(layer for layer in profile.layers if layer.name not in tops)
    return profile.model_copy(update={"layers": layers})


def top_file_systems(profile: Profile) -> list[Testable]:
    """The file systems of the profile that nothing stands on and that can be a section: on one
    device, which is what fstests makes them on."""
    used = stack(profile).users
    return [
        layer
        for layer in profile.layers
        if isinstance(layer, Testable)
        and layer.name not in used
        and not (isinstance(layer, F2fs) and layer.zoned)
    ]


def free_devices(profile: Profile) -> list[str]:
    """The block devices that only the file systems on top stand on, if any, by reference."""
    found = stack(profile)
    names = {layer.name for layer in top_file_systems(profile)}
    used = {
        ref for ref, users in found.users.items() if any(user not in names for user, _ in users)
    }
    blocks = {node.ref: node for node in found.nodes.values() if node.kind == "block"}
    parted = {node.within for node in blocks.values()}
    return [
        ref
        for ref, node in blocks.items()
        if ref not in used and ref not in parted and not node.read_only
    ]
