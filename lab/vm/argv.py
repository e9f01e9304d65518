# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile → QEMU's command line: a pure function, pinned by golden files in tests/unit/golden.

All files of the guest are named relative to its directory, in which QEMU is started: the
sockets then fit the 107 bytes that a Unix socket address allows, wherever HOME may be.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.profile.device_rules import ports
from lab.profile.models import Profile
from lab.vm.devices import blockdev, device_options, pluggable, root_ports, unpluggable
from lab.vm.link import Link

QMP_SOCKET = "qmp.sock"
CONSOLE_SOCKET = "console.sock"
PORT_SOCKET = "port.sock"
"""The port on which the guest's agent answers."""
CONSOLE_LOG = "console.log"
LAYERS_LOG = "layers.jsonl"
"""What the guest writes to its second serial port: how it made its layers."""
TRACE_LOG = "trace.log"
PID_FILE = "qemu.pid"
INITRD = "initrd"

TRACED = ("-msg", "timestamp=on", "-D")
"""What comes before the trace log's name: lines without the time have another form."""
SANDBOX = (
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
)


@dataclass(frozen=True)
class Boot:
    """What the host contributes to a machine: programs, artifacts and the accelerator."""

    name: str
    qemu: str
    accelerator: str
    kernel: Path
    kernel_args: tuple[str, ...]
    root: Path
    modules: Path
    link: Link | None = None
    """To the peer, or from it."""
    trees: tuple[tuple[str, Path], ...] = ()
    """Read-only disks besides root and modules, by serial: suites that were built elsewhere."""


def network(restrict: str) -> str:
    """The network backend: a free port of the host's loopback leads to the guest's SSH server."""
    return f"user,id=net,restrict={restrict},hostfwd=tcp:127.0.0.1:0-:22"


def kernel_args(profile: Profile) -> list[str]:
    """What a profile adds to the kernel's command line."""
    timeout = f"nvme_core.io_timeout={int(profile.guest.nvme_io_timeout)}"
    return [timeout, *profile.guest.kernel_args]


@dataclass(frozen=True)
class Memory:
    """A guest's memory: a file that it fills (`shared`), or one that it begins from and leaves as
    it is; without a path it is no file."""

    path: Path | None
    shared: bool


def argv(profile: Profile, boot: Boot) -> list[str]:
    """QEMU's command line for a profile; no option is repeated by the caller."""
    return [
        *_machine(profile, boot),
        *_kernel(profile, boot),
        *_own_devices(profile, boot),
        *_trees(boot),
        *_link(boot),
        *device_options(profile),
    ]


def making(profile: Profile, boot: Boot, ports: int, memory: Memory | None) -> list[str]:
    """QEMU's command line for a guest that is to be checkpointed: without storage of a profile, but
    with so many empty root ports for it, and its memory in a file unless that is None."""
    return [
        *_machine(profile, boot, memory),
        *_kernel(profile, boot),
        *_own_devices(profile, boot),
        *root_ports(ports),
    ]


def restoring(profile: Profile, boot: Boot, ports: int, memory: Memory | None) -> list[str]:
    """QEMU's command line for a guest that begins from a checkpoint; its devices are plugged
    afterwards, but for what cannot be."""
    return [
        *_machine(profile, boot, memory),
        *("-S", "-incoming", "defer"),
        *_own_devices(profile, boot),
        *root_ports(ports),
        *unpluggable(profile),
    ]


def wanted_ports(profile: Profile, boot: Boot) -> int:
    """How many root ports a guest of the profile needs when all its devices are plugged."""
    return ports(profile.devices) + len(boot.trees) + bool(boot.link)


def plugged(profile: Profile, boot: Boot) -> tuple[list[dict[str, Any]], list[str]]:
    """What is plugged into a guest that was restored: block nodes, and devices as -device takes
    them, in that order."""
    nodes, devices = pluggable(profile)
    at = ports(profile.devices)
    for serial, path in boot.trees:
        nodes.append(_read_only(serial, path))
        devices.append(f"virtio-blk-pci,drive={serial},serial={serial},bus=port{at}")
        at += 1
    if boot.link:
        devices.append(f"{boot.link.device},bus=port{at}")
    return nodes, devices


def _machine(profile: Profile, boot: Boot, memory: Memory | None = None) -> Iterator[str]:
    cpu = "host" if boot.accelerator == "kvm" else "max"
    yield from (boot.qemu, "-name", f"guest={boot.name}", "-nodefaults", "-no-user-config")
    yield from ("-display", "none", "-no-reboot")
    yield from SANDBOX
    # Without the disk and bus controllers that nothing here uses: udev would load their drivers.
    machine = f"q35,accel={boot.accelerator},sata=off,smbus=off"
    size = f"{profile.machine.memory >> 20}M"
    if memory:
        machine += ",memory-backend=memory"
        node: dict[str, object] = {"qom-type": "memory-backend-ram", "id": "memory"}
        node |= {"size": profile.machine.memory, "share": memory.shared}
        if memory.path:
            node |= {"qom-type": "memory-backend-file", "mem-path": str(memory.path)}
        yield from ("-object", json.dumps(node, separators=(",", ":")))
    yield from ("-machine", machine, "-cpu", cpu)
    yield from ("-smp", str(profile.machine.cpus), "-m", size)
    yield from ("-pidfile", PID_FILE, *TRACED, TRACE_LOG)
    yield from ("-qmp", f"unix:{QMP_SOCKET},server=on,wait=off")
    yield from (
        "-chardev",
        f"socket,id=console,path={CONSOLE_SOCKET},server=on,wait=off,"
        f"logfile={CONSOLE_LOG},logappend=on",
    )
    yield from ("-serial", "chardev:console")
    yield from ("-chardev", f"file,id=layers,path={LAYERS_LOG}", "-serial", "chardev:layers")
    yield from ("-chardev", f"socket,id=port,path={PORT_SOCKET},server=on,wait=off")


def _kernel(profile: Profile, boot: Boot) -> Iterator[str]:
    args = [*boot.kernel_args, *kernel_args(profile)]
    yield from ("-kernel", str(boot.kernel), "-initrd", INITRD, "-append", " ".join(args))


def _own_devices(profile: Profile, boot: Boot) -> Iterator[str]:
    """What every guest has, whatever its profile."""
    for serial, path in (("root", boot.root), ("modules", boot.modules)):
        yield from ("-blockdev", blockdev(_read_only(serial, path)))
        yield from ("-device", f"virtio-blk-pci,drive={serial},serial={serial}")
    restrict = "on" if profile.machine.network == "none" else "off"
    yield from ("-netdev", network(restrict))
    yield from ("-device", "virtio-net-pci,netdev=net,romfile=")
    yield from ("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port,name=lab")
    # Tells a kernel that it is another guest than that of the checkpoint.
    yield from ("-device", "vmgenid,guid=auto")
    if boot.link:
        yield from ("-netdev", boot.link.netdev)


def _trees(boot: Boot) -> Iterator[str]:
    for serial, path in boot.trees:
        yield from ("-blockdev", blockdev(_read_only(serial, path)))
        yield from ("-device", f"virtio-blk-pci,drive={serial},serial={serial}")


def _link(boot: Boot) -> Iterator[str]:
    if boot.link:
        yield from ("-device", boot.link.device)


def _read_only(name: str, path: Path) -> dict[str, object]:
    return {"driver": "file", "node-name": name, "filename": str(path), "read-only": True}
