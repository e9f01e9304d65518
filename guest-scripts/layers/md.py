# SPDX-License-Identifier: GPL-2.0-or-later
"""Software RAID by mdadm (md(4), mdadm(8); Documentation/admin-guide/md.rst)."""

import itertools
import os

import content
import properties
import system
from layer import Layer, Made, device_below
from pattern import Mismatch

MODULES = {
    "raid0": "raid0",
    "raid1": "raid1",
    "raid10": "raid10",
    "raid4": "raid456",
    "raid5": "raid456",
    "raid6": "raid456",
}
"""Kernel module of each level; linear has its name from the kernel, which loads it by itself."""

MEMBER = "linux_raid_member"


class Md(Layer):
    """An array, which its members' superblocks describe once it is made."""

    def uses(self):
        return [*self.spec["over"], *filter(None, [self.spec["journal"]])]

    def up(self):
        devices = [device_below(ref) for ref in self.uses()]
        node = array_over(devices[0])
        if not node:
            system.modprobe("md_mod", *filter(None, [MODULES.get(self.spec["level"])]))
            node = self._start(devices)
            system.settle()
        _make_whole(node, devices)
        return Made({"": node})

    def mend(self):
        devices = [device_below(ref) for ref in self.uses()]
        node = array_over(devices[0])
        lost = ", ".join(map(system.block_name, _make_whole(node, devices)))
        return f"the array threw out {lost}, which was brought back" if lost else ""

    def asked(self, made):
        # mdadm 4.4 says nothing where it leaves something out, or assembles another array.
        node = made.devices[""]
        for name, wanted in self.attributes().items():
            where = properties.sysfs(node, f"md/{name}")
            yield properties.Asked(name, wanted, attribute(node, name), where)

    def attributes(self):
        """What attributes of the array must be."""
        wanted = {"level": self.spec["level"], "raid_disks": str(len(self.spec["over"]))}
        if self.spec["level"] not in ("linear", "raid0"):
            policy = "journal" if self.spec["journal"] else self.spec["consistency"]
            wanted["consistency_policy"] = policy
        if self.spec["chunk"]:
            wanted["chunk_size"] = str(self.spec["chunk"])
        return wanted

    def _start(self, devices):
        """Assemble the array, or make it where there is none; its node."""
        found = {device: system.signature(device) for device in devices}
        node = _free_node()
        if all(found.values()) and set(found.values()) == {MEMBER}:
            system.run(["mdadm", "--assemble", node, "--run", *devices])
            return node
        for device, signature in found.items():
            if signature:
                raise system.Failure(device, f"has {signature} on it; expected nothing")
        members = devices[: len(self.spec["over"])]
        system.run(["mdadm", "--create", node, "--run", *self.creation(), *members], 120)
        return node

    def creation(self):
        """What mdadm is told of an array that it makes."""
        members = self.spec["over"]
        yield from (f"--level={self.spec['level']}", f"--raid-devices={len(members)}")
        yield from (f"--name={self.name}", "--homehost=lab", "--metadata=1.2", "--force")
        if self.spec["chunk"]:
            yield f"--chunk={self.spec['chunk'] // 1024}"
        if self.spec["journal"]:
            yield f"--write-journal={device_below(self.spec['journal'])}"
        elif self.spec["level"] not in ("linear", "raid0"):
            yield f"--consistency-policy={self.spec['consistency']}"
            # The policy alone makes no bitmap (mdadm 4.4, which does not say so).
            yield f"--bitmap={'internal' if self.spec['consistency'] == 'bitmap' else 'none'}"

    def down(self):
        node = array_over(device_below(self.spec["over"][0]))
        if node:
            system.run(["mdadm", "--stop", node])


def array_over(member):
    """The node of the array that a device is a member of, if it runs."""
    holders = f"{system.BLOCK}/{system.block_name(member)}/holders"
    found = [name for name in os.listdir(holders) if name.startswith("md")]
    return f"/dev/{found[0]}" if found else None


def _free_node():
    free = (
        number for number in itertools.count() if not os.path.exists(f"{system.BLOCK}/md{number}")
    )
    return f"/dev/md{next(free)}"


def attribute(node, name):
    """An attribute of an array; '' for one that its level does not have."""
    path = f"{system.BLOCK}/{system.block_name(node)}/md/{name}"
    return system.read(path) if os.path.exists(path) else ""


def _make_whole(node, devices):
    """Take members back that a fault has thrown out, and wait until all are in line; which those
    were.  Raises Failure."""
    missing = _missing(node, devices)
    for device in missing:
        if os.path.exists(_member(node, device)):
            # Thrown out, and not yet gone.
            system.run(["mdadm", "--manage", node, "--remove", device])
        system.run(["mdadm", "--manage", node, "--add", device])
    await_sync(node, content.patience(system.size_of(node) * len(devices)))
    return missing


def _missing(node, devices):
    """The members that an array does without."""
    if attribute(node, "degraded") in ("", "0"):
        return []
    return [device for device in devices if not _serves(_member(node, device))]


def _member(node, device):
    """What the array knows of a member (Documentation/admin-guide/md.rst)."""
    name = system.block_name(device)
    return f"{system.BLOCK}/{system.block_name(node)}/md/dev-{name}"


def _serves(member):
    return os.path.exists(member) and "faulty" not in system.read(f"{member}/state")


def await_sync(node, deadline):
    """Wait until the members are in line.  Raises Failure."""
    what = f"{node} in sync"
    system.wait_for(lambda: attribute(node, "sync_action") in ("", "idle"), what, deadline)
    if attribute(node, "degraded") not in ("", "0"):
        raise system.Failure(node, f"lacks {attribute(node, 'degraded')} of its members")


def compare(node):
    """Have the members of an array compared with each other; what was done, in words, '' where
    they hold nothing in common.  Raises Mismatch."""
    if not attribute(node, "sync_action"):
        return ""
    system.write(f"{system.BLOCK}/{system.block_name(node)}/md/sync_action", "check")
    await_sync(node, content.patience(system.size_of(node)))
    different = attribute(node, "mismatch_cnt")
    if different != "0":
        raise Mismatch(f"{node}: its members differ in {different} sectors")
    return "its members agree"
