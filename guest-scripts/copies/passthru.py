# SPDX-License-Identifier: GPL-2.0-or-later
"""The path nvmet-passthrough: commands to a controller through the kernel's NVMe target.

The target hands what it gets to the controller below (drivers/nvme/target/passthru.c); the same
guest connects to it by the transport loop, at the first copy, until `disconnect`.
"""

import glob
import os

import system
from nvme_target import NVMET, connect_to, nqn

NAME = "lab-passthrough"
SUBSYSTEM = f"{NVMET}/subsystems/{nqn(NAME)}"
PORT = f"{NVMET}/ports/9"
OFFERED = f"{PORT}/subsystems/{nqn(NAME)}"


def through(path):
    """The block device by which a namespace is reached through the target."""
    if not os.path.isdir(SUBSYSTEM):
        _make(os.path.realpath(f"{system.BLOCK}/{os.path.basename(path)}/device"))
    if not os.path.islink(OFFERED):  # not yet, or no more
        _offer()
    nsid = system.read(f"{system.BLOCK}/{os.path.basename(path)}/nsid")
    return system.wait_for(lambda: _namespace(nsid), f"namespace {nsid} of {NAME}")


def _make(controller):
    system.mount_configfs()
    system.modprobe("nvmet", "nvme-loop")
    system.make_directory(SUBSYSTEM)
    system.write(f"{SUBSYSTEM}/attr_allow_any_host", 1)
    system.write(f"{SUBSYSTEM}/passthru/device_path", f"/dev/{os.path.basename(controller)}")
    system.write(f"{SUBSYSTEM}/passthru/enable", 1)
    system.make_directory(PORT)
    system.write(f"{PORT}/addr_trtype", "loop")


def _offer():
    system.link(SUBSYSTEM, OFFERED)
    connect_to(NAME, "transport=loop")
    # udev reads every new disk, and those reads would be taken for the copy's.
    system.settle()


def _namespace(nsid):
    for disk in glob.glob(f"{system.BLOCK}/nvme*"):
        try:
            above = system.read(f"{disk}/device/subsysnqn"), system.read(f"{disk}/nsid")
        except OSError:  # a partition, or gone meanwhile
            continue
        node = f"/dev/{os.path.basename(disk)}"
        # With multipath each path is hidden behind the disk, and has no node.
        if above == (nqn(NAME), nsid) and os.path.exists(node):
            return node
    return None


def disconnect():
    """Take the target away, if it is there."""
    for controller in glob.glob("/sys/class/nvme/nvme*"):
        if system.read(f"{controller}/subsysnqn") == nqn(NAME):
            system.write(f"{controller}/delete_controller", 1)
    if os.path.isdir(SUBSYSTEM):
        system.unlink(OFFERED)
        system.remove_directory(PORT)
        system.write(f"{SUBSYSTEM}/passthru/enable", 0)
        system.remove_directory(SUBSYSTEM)
