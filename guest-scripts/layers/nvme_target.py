# SPDX-License-Identifier: GPL-2.0-or-later
"""NVMe over fabrics: the kernel's target by configfs, and connections to it.

Documentation: the kernel has none of nvmet's configfs; drivers/nvme/target/configfs.c.
"""

import glob
import os
import time

import byserial
import disk_properties
import properties
import system
from layer import Layer, Made
from patience import Patience
from targets import Backed, identity, refuse_in_use, serial

NVMET = f"{system.CONFIGFS}/nvmet"
FABRICS = "/dev/nvme-fabrics"
SERVICE = 4420
"""The TCP port that IANA gave to NVMe over fabrics."""

PATIENCE = 60.0
"""Seconds that a target may take to appear, of a guest that is not slowed down."""
NOT_YET = ("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EIO", "EINVAL")
"""What connecting says while nobody listens, or listens but has no such subsystem yet."""

# One port for each transport, shared by all layers.  With TCP it listens on all addresses, so
# that this guest reaches it, and the other one over the private link.
PORTS = {
    "loop": (1, {"addr_trtype": "loop"}),
    "tcp": (
        2,
        {
            "addr_trtype": "tcp",
            "addr_adrfam": "ipv4",
            "addr_traddr": "0.0.0.0",
            "addr_trsvcid": SERVICE,
        },
    ),
}


def nqn(name):
    """The NVMe qualified name of a layer; `test` is a domain that nobody has (RFC 6761)."""
    return f"nqn.2026-01.test.lab:{name}"


class Nvmet(Backed):
    """The kernel's NVMe target: a subsystem with one namespace, and the disk it gives here."""

    @property
    def subsystem(self):
        """Its directory in configfs."""
        return f"{NVMET}/subsystems/{nqn(self.name)}"

    @property
    def namespace(self):
        """The directory of its only namespace."""
        return f"{self.subsystem}/namespaces/1"

    def up(self):
        transport = self.spec["transport"]
        system.mount_configfs()
        # The module nvme-loop is target and host in one.
        system.modprobe("nvmet", "nvme-loop" if transport == "loop" else "nvmet-tcp")
        self._enable()
        self._open_port(transport)
        if not self.spec["connect"]:
            return Made(export=self.subsystem)
        if transport == "loop":
            return Made({"": connect(self.name, "transport=loop")})
        return Made({"": connect_tcp(self.name, "127.0.0.1")})

    def asked(self, made):
        if self.in_file:
            where = f"{self.namespace}/buffered_io"
            buffered = system.read(where) == "1"
            yield properties.Asked("buffered", self.spec["buffered"], buffered, where)
        if device := made.devices.get(""):
            wanted = self.spec["size"] or system.size_of(self.backing())
            yield from disk_properties.read_back(device, {"size": wanted})
            (controller, *_) = controllers(self.name)
            where = f"{controller}/transport"
            yield properties.Asked("transport", self.spec["transport"], system.read(where), where)

    def _enable(self):
        system.make_directory(self.namespace)
        if system.read(f"{self.namespace}/enable") == "1":
            return
        system.put(f"{self.subsystem}/attr_allow_any_host", 1)
        system.put(f"{self.subsystem}/attr_serial", serial(self.name))
        # An initiator that outlives a reboot of its target takes a namespace with another UUID
        # for another disk.
        system.put(f"{self.namespace}/device_uuid", identity(self.name))
        system.put(f"{self.namespace}/device_path", self.backing())
        system.put(f"{self.namespace}/buffered_io", int(self.spec["buffered"]))
        system.put(f"{self.namespace}/enable", 1)

    def _open_port(self, transport):
        number, attributes = PORTS[transport]
        links = f"{NVMET}/ports/{number}/subsystems"
        system.make_directory(f"{NVMET}/ports/{number}")
        if not os.listdir(links):  # with the first subsystem it starts to listen
            for attribute, value in attributes.items():
                system.put(f"{NVMET}/ports/{number}/{attribute}", value)
        system.link(self.subsystem, f"{links}/{nqn(self.name)}")

    def down(self):
        disconnect(self.name)
        for number, _ in PORTS.values():
            port = f"{NVMET}/ports/{number}"
            system.unlink(f"{port}/subsystems/{nqn(self.name)}")
            if os.path.isdir(port) and not os.listdir(f"{port}/subsystems"):
                system.remove_directory(port)
        if os.path.isdir(self.namespace):
            system.write(f"{self.namespace}/enable", 0)
        system.remove_directory(self.namespace)
        system.remove_directory(self.subsystem)


class NvmeConnect(Layer):
    """A disk from an nvmet layer of the peer, over TCP."""

    def uses(self):
        return []  # of this guest

    def up(self):
        peer = self.described.get("peer")
        if not peer:
            raise system.Failure(self.name, "this guest has no link to a peer")
        return Made({"": connect_tcp(self.spec["target"], peer)})

    def down(self):
        disconnect(self.spec["target"])


def connect_tcp(target, address):
    """Connect to an nvmet layer over TCP, and return its disk.  Raises Failure."""
    system.modprobe("nvme-tcp")
    return connect(target, f"transport=tcp,traddr={address},trsvcid={SERVICE}")


def connect(target, where):
    """Connect to the nvmet layer of that name, if we are not, and return its disk.

    What nvme-cli does in the end (drivers/nvme/host/fabrics.c), with the errno that it keeps
    to itself.  The kernel gives up by itself when nobody answers.  Raises Failure.
    """
    connect_to(target, where)
    return byserial.disk("nvme", serial(target), 1)


def connect_to(target, where):
    """Connect to the nvmet layer of that name, if we are not.  Raises Failure."""
    patience = Patience(PATIENCE)
    while not controllers(target):
        try:
            _connect(target, where)
        except system.Failure as problem:
            # The other guest may still be on its way to making the target.
            if problem.error not in NOT_YET or patience.over():
                raise
            time.sleep(0.2)


def _connect(target, where):
    host = identity(f"host {os.uname().nodename}")
    hostnqn = f"nqn.2014-08.org.nvmexpress:uuid:{host}"
    system.write(FABRICS, f"nqn={nqn(target)},{where},hostnqn={hostnqn},hostid={host}")


def disconnect(target):
    """Close the connections to an nvmet layer, if there are any.  Raises Failure."""
    found = controllers(target)
    if found:
        refuse_in_use(byserial.find_disk("nvme", serial(target), 1))
    for controller in found:
        # Returns when the disk is gone.
        system.write(f"{controller}/delete_controller", 1)


def controllers(target):
    """The controllers in sysfs that are connected to an nvmet layer."""
    paths = glob.glob("/sys/class/nvme/nvme*/subsysnqn")
    return [os.path.dirname(path) for path in paths if system.read(path) == nqn(target)]
