# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU, what it emulates, and what makes it fast."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lab.artifacts import cache
from lab.artifacts.kernels.names import SHIPPED
from lab.artifacts.qemus import names
from lab.artifacts.qemus.package import NEEDED, QemuPackage
from lab.doctor.finding import Finding, State, degraded, failed, missing, ok
from lab.errors import LabError
from lab.host import qemu
from lab.host.cures import Cure, install
from lab.host.scratch import scratch
from lab.vm import bound, trace, walls
from lab.vm.argv import SANDBOX, TRACED, network
from lab.vm.graph import Drive
from lab.vm.support import FEATURES

EVERY_GUEST = (
    *NEEDED, "pcie-root-port", "virtio-blk-pci", "virtio-net-pci",
    "virtio-serial-pci", "virtserialport", "vmgenid",
)  # fmt: skip
"""Device types without which no profile that ships boots."""
SOME_GUESTS = ("nvme-subsys", "scsi-hd", "vfio-pci", "virtio-scsi-pci")
"""Those that profiles can name besides."""

NEWER = Cure.anywhere("lab qemu add newer --package qemu-system-x86/sid, then --qemu newer")
"""A QEMU of another suite needs no root, and harms nothing."""

_SIZE = 1 << 16
"""Bytes of a disk that is set up and never used."""

_GROUP = "sudo usermod --append --groups kvm $USER, then log in again"


def program() -> Finding:
    """The QEMU that guests run in unless a profile names another."""
    try:
        path = qemu.binary()
        version = qemu.version(path)
    except LabError as error:
        if os.environ.get("LAB_QEMU"):
            return missing(error.message, "unset LAB_QEMU, or let it name a QEMU")
        return missing(error.message, install(qemu.DEFAULT))
    return ok(f"{version}, {path}", {"QEMU": version})


def devices() -> Finding:
    """The device types that guests are made of."""
    kinds = (*EVERY_GUEST, *SOME_GUESTS)
    answers = zip(kinds, _ask_for(kinds), strict=True)
    lacking = [kind for kind, answer in answers if "error" in answer]
    if needed := [kind for kind in lacking if kind in EVERY_GUEST]:
        return missing(f"this QEMU has no {', '.join(needed)}", NEWER)
    if lacking:
        return degraded(f"this QEMU has no {', '.join(lacking)}", NEWER)
    return ok(f"{len(kinds)} types")


def _ask_for(kinds: Sequence[str]) -> list[dict[str, Any]]:
    """What QEMU answers to the question for the properties of each device type."""
    asked = [("device-list-properties", {"typename": kind}) for kind in kinds]
    return qemu.ask(qemu.binary(), asked)


def features() -> Finding:
    """What some devices of profiles have, and older QEMUs have not."""
    kinds = sorted({kind for feature in FEATURES for kind, _ in feature.needs})
    answers = dict(zip(kinds, _ask_for(kinds), strict=True))
    there = {
        (kind, found["name"])
        for kind, answer in answers.items()
        for found in answer.get("return", ())
    }
    lacking = [feature.name for feature in FEATURES if not there.issuperset(feature.needs)]
    if lacking:
        return degraded(f"left out of profiles that have them: {', '.join(lacking)}", NEWER)
    return ok(", ".join(feature.name for feature in FEATURES))


def faults() -> Finding:
    """What freezes and fails requests, what writes down what reached the medium, the trace log, the
    sandbox and the network: a whole disk of a guest is set up in a QEMU without a machine."""
    with scratch() as place:
        log = place / "trace.log"
        nodes = [_in(place, node) for node in Drive("doctor", "DOCTOR", 1, _SIZE, 512).nodes()]
        commands: list[tuple[str, dict[str, object]]] = [
            *(("blockdev-add", node) for node in nodes),
            ("trace-event-set-state", {"name": trace.PROOF, "enable": True}),
            ("query-version", {}),
        ]
        options = (*SANDBOX, *TRACED, str(log), "-netdev", network("on"))
        try:
            answers = qemu.ask(qemu.binary(), commands, *options)
        except LabError as error:
            return failed(error, State.MISSING)
        written = log.read_text(errors="replace") if log.exists() else ""
    for answer in answers:
        if "error" in answer:
            return missing(str(answer["error"]["desc"]), NEWER)
    if not any(line.event == trace.PROOF for line in trace.parse(written)):
        return missing("this QEMU writes no trace events to its log", NEWER)
    return ok("blkdebug, blklogwrites, trace log, sandbox, user network")


def _in(place: Path, node: dict[str, object]) -> dict[str, object]:
    """A node whose file, if it has one, lies there."""
    if "filename" not in node:
        return node
    path = place / str(node["filename"])
    path.write_bytes(bytes(_SIZE))
    return {**node, "filename": str(path)}


def landlock() -> Finding:
    """What keeps QEMU in its directory, whatever its guest makes of it."""
    if reason := walls.why_not():
        cure = Cure.anywhere("util-linux 2.41 and a kernel with Landlock: those of Debian 13 do")
        return degraded(f"QEMU may open all files that you may: {reason}", cure)
    return ok("QEMU opens nothing but its directory and artifacts")


def memory() -> Finding:
    """What keeps QEMU from taking more memory than its guest's, and some."""
    if reason := bound.why_not():
        cure = Cure.anywhere("prlimit, of util-linux, and no lower limit (`ulimit -d`)")
        return degraded(f"QEMU may take all memory: {reason}", cure)
    return ok(f"QEMU takes no more than its guest's and {bound.SPARE >> 30} GiB")


def accelerator() -> Finding:
    """KVM, by booting a kernel; also for those that come after."""
    if reason := qemu.unusable():
        return degraded(f"slow TCG emulation instead: {reason}", _kvm_cure(reason))
    kernel = _a_kernel(cache.listing("kernel"))
    if kernel is None:
        return degraded("/dev/kvm opens; not tried: no kernel is built", "lab kernel build debian")
    found = qemu.tried(qemu.binary(), kernel, again=True)
    if found.why:
        cure = "on the host of this virtual machine, let it have nested virtualisation"
        return degraded(f"slow TCG emulation instead: {found.why}", cure)
    if os.environ.get("LAB_ACCEL") == "tcg":
        return degraded("a kernel booted, but LAB_ACCEL=tcg asks for TCG", "unset LAB_ACCEL")
    return ok("a kernel booted")


def _kvm_cure(reason: str) -> Cure:
    if "permission" in reason:
        return Cure.anywhere(_GROUP)
    return Cure.anywhere("sudo modprobe -a kvm_intel kvm_amd, or switch it on in the firmware")


def _a_kernel(built: Iterable[cache.Artifact]) -> Path | None:
    """A kernel that should boot: one of Debian's rather than one under test."""
    kernels = sorted(built, key=lambda one: one.name not in SHIPPED)
    return next((kernel.path / "vmlinux" for kernel in kernels), None)


def vsock(device: Path = Path("/dev/vhost-vsock")) -> Finding:
    """Sockets between guest and host; no guest needs them yet."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return degraded(f"no {device}; nothing needs it yet", "sudo modprobe vhost_vsock")
    except PermissionError:
        return degraded(f"{device}: permission denied; nothing needs it yet", _GROUP)
    except OSError as error:
        return degraded(f"{device}: {error.strerror}; nothing needs it yet",
                        "sudo modprobe vhost_vsock")  # fmt: skip
    return ok(str(device))


def others() -> Finding:
    """The QEMUs that have names besides the host's."""
    versions: dict[str, str] = {}
    unpacked_later, broken = list[str](), list[tuple[str, LabError]]()
    for name, source in names.BOOK.added().items():
        try:
            if isinstance(source, QemuPackage) and not source.made():
                unpacked_later.append(name)
            else:
                versions[f"QEMU {name}"] = qemu.version(str(source.program(_tell)))
        except LabError as why:
            broken.append((name, why))
    if broken:
        said = "; ".join(f"{each}: {error.message}" for each, error in broken)
        return degraded(said, f"lab qemu rm {broken[0][0]}", versions)
    told = [f"{name.removeprefix('QEMU ')} {_short(version)}" for name, version in versions.items()]
    told += [f"{name} (not unpacked)" for name in unpacked_later]
    return ok(", ".join(told) or "none has a name", versions)


def _tell(line: str) -> None:
    """Progress: stdout is for what was found, which may be JSON."""
    print(line, file=sys.stderr)


def _short(version: str) -> str:
    return version.partition(" (")[0]
