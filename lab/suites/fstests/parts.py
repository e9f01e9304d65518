# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system whose realtime section or log is on devices of their own, as fstests takes them.

fstests gives mkfs and mount the devices themselves, once it is told USE_EXTERNAL (its common/rc,
_test_options and _scratch_options), but not the file system that must be there before it starts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lab.profile.layers.filesystems import Xfs
from lab.profile.stack import Stack

PART_ROLES = {
    "log": "TEST_LOGDEV",
    "scratch_log": "SCRATCH_LOGDEV",
    "test_rt": "TEST_RTDEV",
    "scratch_rt": "SCRATCH_RTDEV",
}
"""Roles of such devices, and fstests' variables for them."""

REALTIME = ("test_rt", "scratch_rt")

_OPTIONS = {"test_rt": ("-r", "rtdev"), "log": ("-l", "logdev")}
"""The roles of what belongs to TEST_DEV: mkfs.xfs's option, and its keyword and mount's."""


@dataclass(frozen=True)
class Parts:
    """The devices of TEST_DEV's own parts, by role, as the guest names them."""

    addresses: Mapping[str, str]

    def mkfs(self) -> Iterator[str]:
        """What mkfs.xfs is told of them."""
        for role, (option, keyword) in _OPTIONS.items():
            if role in self.addresses:
                yield from (option, f"{keyword}={self.addresses[role]}")

    def mount(self) -> Iterator[str]:
        """What mount is told of them, as options."""
        for role, (_, keyword) in _OPTIONS.items():
            if role in self.addresses:
                yield f"{keyword}={self.addresses[role]}"

    def repair(self) -> Iterator[str]:
        """What xfs_repair is told of them (xfs_repair(8): -r, -l)."""
        for role, (option, _) in _OPTIONS.items():
            if role in self.addresses:
                yield from (option, self.addresses[role])


def of_layer(layer: object, found: Stack) -> dict[str, str]:
    """The devices of a layer's parts, by role."""
    if not isinstance(layer, Xfs):
        return {}
    refs = {"test_rt": layer.rt, "log": layer.log}
    return {role: found.nodes[ref].ref for role, ref in refs.items() if ref}


def needed(fstyp: str, devices: Mapping[str, str], found: Stack) -> tuple[str, ...]:
    """Arguments of mkfs without which the file system does not fit its devices, which are by
    role."""
    data = found.nodes[devices.get("test_rt", devices["test"])]
    if fstyp == "btrfs" and data.zoned:
        # Two copies of the metadata would need twice the zones.
        return ("-d", "single", "-m", "single")
    if fstyp == "xfs" and data.zoned:
        return ("-m", "reflink=0", "-r", "zoned=1")
    if fstyp == "xfs" and "test_rt" in devices:
        return ("-m", "reflink=0", "-d", "rtinherit=1")
    return ()


def needed_by(layer: object, devices: Mapping[str, str], found: Stack) -> tuple[str, ...]:
    """The same for a layer of the profile, which may say whether blocks are shared."""
    made = needed(getattr(layer, "type", ""), devices, found)
    if not isinstance(layer, Xfs):
        return made
    shares = layer.shares and not made if layer.reflink is None else layer.reflink
    return ("-m", f"reflink={int(shares)}", *made[2:])
