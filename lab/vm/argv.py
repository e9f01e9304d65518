# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile → QEMU's command line: a pure function, pinned by golden files in tests/unit/golden.

All files of the guest are named relative to its directory, in which QEMU is started: the
sockets then fit the 107 bytes that a Unix socket address allows, wherever HOME may be.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.profile.models import Profile
from lab.vm.devices import blockdev, device_options
from lab.vm.link import Link

QMP_SOCKET = "qmp.sock"
CONSOLE_SOCKET = "console.sock"
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


def argv(profile: Profile, boot: Boot) -> list[str]:
    """QEMU's command line for a profile; no option is repeated by the caller."""
    return [boot.qemu, *_machine(profile, boot), *_devices(profile, boot)]


def _machine(profile: Profile, boot: Boot) -> Iterator[str]:
    cpu = "host" if boot.accelerator == "kvm" else "max"
    args = [*boot.kernel_args, *kernel_args(profile)]
    yield from ("-name", f"guest={boot.name}", "-nodefaults", "-no-user-config")
    yield from ("-display", "none", "-no-reboot")
    yield from SANDBOX
    # Without the disk and bus controllers that nothing here uses: udev would load their drivers.
    yield from ("-machine", f"q35,accel={boot.accelerator},sata=off,smbus=off", "-cpu", cpu)
    yield from ("-smp", str(profile.machine.cpus), "-m", f"{profile.machine.memory >> 20}M")
    yield from ("-kernel", str(boot.kernel), "-initrd", INITRD, "-append", " ".join(args))
    yield from ("-pidfile", PID_FILE, *TRACED, TRACE_LOG)
    yield from ("-qmp", f"unix:{QMP_SOCKET},server=on,wait=off")
    yield from (
        "-chardev",
        f"socket,id=console,path={CONSOLE_SOCKET},server=on,wait=off,"
        f"logfile={CONSOLE_LOG},logappend=on",
    )
    yield from ("-serial", "chardev:console")
    yield from ("-chardev", f"file,id=layers,path={LAYERS_LOG}", "-serial", "chardev:layers")


def _devices(profile: Profile, boot: Boot) -> Iterator[str]:
    for serial, path in (("root", boot.root), ("modules", boot.modules), *boot.trees):
        node = {"driver": "file", "node-name": serial, "filename": str(path), "read-only": True}
        yield from ("-blockdev", blockdev(node))
        yield from ("-device", f"virtio-blk-pci,drive={serial},serial={serial}")
    restrict = "on" if profile.machine.network == "none" else "off"
    yield from ("-netdev", network(restrict))
    yield from ("-device", "virtio-net-pci,netdev=net,romfile=")
    if boot.link:
        yield from boot.link.argv()
    yield from device_options(profile)
