"""Profile → QEMU's command line: a pure function, pinned by golden files in tests/unit/golden.

All files of the guest are named relative to its directory, in which QEMU is started: the
sockets then fit the 107 bytes that a Unix socket address allows, wherever HOME may be.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.profile.models import NvmeController, NvmeNamespace, Profile
from lab.vm.graph import drives

QMP_SOCKET = "qmp.sock"
CONSOLE_SOCKET = "console.sock"
CONSOLE_LOG = "console.log"
TRACE_LOG = "trace.log"
PID_FILE = "qemu.pid"
INITRD = "initrd"


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


def argv(profile: Profile, boot: Boot) -> list[str]:
    """QEMU's command line for a profile; no option is repeated by the caller."""
    return [boot.qemu, *_machine(profile, boot), *_devices(profile, boot)]


def _machine(profile: Profile, boot: Boot) -> Iterator[str]:
    cpu = "host" if boot.accelerator == "kvm" else "max"
    timeout = f"nvme_core.io_timeout={int(profile.guest.nvme_io_timeout)}"
    args = [*boot.kernel_args, timeout, *profile.guest.kernel_args]
    yield from ("-name", f"guest={boot.name}", "-nodefaults", "-no-user-config")
    yield from ("-display", "none", "-no-reboot")
    yield from (
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    )
    # Without the disk and bus controllers that nothing here uses: udev would load their drivers.
    yield from ("-machine", f"q35,accel={boot.accelerator},sata=off,smbus=off", "-cpu", cpu)
    yield from ("-smp", str(profile.machine.cpus), "-m", f"{profile.machine.memory >> 20}M")
    yield from ("-kernel", str(boot.kernel), "-initrd", INITRD, "-append", " ".join(args))
    yield from ("-pidfile", PID_FILE, "-msg", "timestamp=on", "-D", TRACE_LOG)
    yield from ("-qmp", f"unix:{QMP_SOCKET},server=on,wait=off")
    yield from (
        "-chardev",
        f"socket,id=console,path={CONSOLE_SOCKET},server=on,wait=off,"
        f"logfile={CONSOLE_LOG},logappend=on",
    )
    yield from ("-serial", "chardev:console")


def _devices(profile: Profile, boot: Boot) -> Iterator[str]:
    for serial, path in (("root", boot.root), ("modules", boot.modules)):
        node = {"driver": "file", "node-name": serial, "filename": str(path), "read-only": True}
        yield from ("-blockdev", _blockdev(node))
        yield from ("-device", f"virtio-blk-pci,drive={serial},serial={serial}")
    restrict = "on" if profile.machine.network == "none" else "off"
    yield from ("-netdev", f"user,id=net,restrict={restrict},hostfwd=tcp:127.0.0.1:0-:22")
    yield from ("-device", "virtio-net-pci,netdev=net,romfile=")
    for drive in drives(profile):
        for node in drive.nodes():
            yield from ("-blockdev", _blockdev(node))
    for index, controller in enumerate(profile.devices):
        yield from _nvme(index, controller)


def _blockdev(node: dict[str, object]) -> str:
    return json.dumps(node, separators=(",", ":"))


def _nvme(index: int, controller: NvmeController) -> Iterator[str]:
    # A root port of its own lets the controller be unplugged and plugged while the guest runs.
    yield from ("-device", f"pcie-root-port,id=port{index},chassis={index + 1},slot={index + 1}")
    yield from (
        "-device",
        f"nvme,id=d{index},bus=port{index},serial={controller.serial},mdts={controller.mdts}",
    )
    for namespace in controller.namespaces:
        yield from ("-device", ",".join(_namespace(index, namespace)))


def _namespace(index: int, namespace: NvmeNamespace) -> Iterator[str]:
    yield "nvme-ns"
    yield f"id=d{index}n{namespace.nsid}"
    yield f"bus=d{index}"
    yield f"drive=d{index}n{namespace.nsid}-top0"
    yield f"nsid={namespace.nsid}"
    yield f"logical_block_size={namespace.block_size}"
    yield f"physical_block_size={namespace.block_size}"
    yield f"mssrl={namespace.copy_limits.mssrl}"
    yield f"mcl={namespace.copy_limits.mcl}"
    # MSRC is zero-based (NVM Command Set 1.1, Identify Namespace); profiles count ranges.
    yield f"msrc={namespace.copy_limits.msrc - 1}"
    if namespace.zoned:
        yield "zoned=on"
        yield f"zoned.zone_size={namespace.zoned.zone_size}"
        if namespace.zoned.zone_capacity:
            yield f"zoned.zone_capacity={namespace.zoned.zone_capacity}"
        yield f"zoned.max_open={namespace.zoned.max_open}"
        yield f"zoned.max_active={namespace.zoned.max_active}"
