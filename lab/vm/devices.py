# SPDX-License-Identifier: GPL-2.0-or-later
"""The storage under test as options of QEMU: one function for each kind of device."""

import json
from collections.abc import Iterator
from typing import Any

from lab.profile.device_rules import ONE_PORT_EACH, ports
from lab.profile.models import (
    Device,
    HostBlock,
    HostNvme,
    NvmeController,
    NvmeNamespace,
    Profile,
    VirtioBlk,
    VirtioScsi,
)
from lab.vm.graph import drives

_REPORT = "rerror=report,werror=report"
"""By default QEMU stops the machine at ENOSPC; here every error belongs to the guest."""

_FUNCTIONS = 8
"""Functions of a PCI slot."""

_LAST_SLOT = 30
"""The last slot of q35's root bus that is free; number 31 is the chipset's (hw/i386/pc_q35.c)."""

_ROTATION = {False: 1, True: 7200}
"""Revolutions per minute as SCSI says them; 1 means no platters (SBC-4, 6.6.3)."""


def device_options(profile: Profile) -> Iterator[str]:
    """The block nodes of all emulated disks, then every device on root ports of its own."""
    for drive in drives(profile):
        for node in drive.nodes():
            yield from ("-blockdev", blockdev(node))
    slots = _slots(ports(profile.devices))
    for index, device in enumerate(profile.devices):
        yield from _device(f"d{index}", f"port{index}", device, slots)


def root_ports(count: int) -> Iterator[str]:
    """So many empty root ports, port0 and so on."""
    for number, place in enumerate(_slots(count)):
        yield from ("-device", f"pcie-root-port,id=port{number},{place}")


def pluggable(profile: Profile) -> tuple[list[dict[str, Any]], list[str]]:
    """The block nodes of all disks, and the devices, on root_ports() in the profile's order, each
    as -device takes it."""
    nodes, devices, renamed = list[dict[str, Any]](), list[str](), dict[str, str]()
    for option, value in _pairs(profile):
        if option == "-blockdev":
            nodes.append(json.loads(value))
        elif value.startswith("pcie-root-port,"):
            (name,) = [word[3:] for word in value.split(",") if word.startswith("id=")]
            renamed[f"bus={name}"] = f"bus=port{len(renamed)}"
        elif not value.startswith("nvme-subsys,"):
            devices.append(",".join(renamed.get(word, word) for word in value.split(",")))
    return nodes, devices


def unpluggable(profile: Profile) -> Iterator[str]:
    """The devices that must be there from the beginning: QEMU plugs no subsystem."""
    for option, value in _pairs(profile):
        if value.startswith("nvme-subsys,"):
            yield from (option, value)


def _pairs(profile: Profile) -> Iterator[tuple[str, str]]:
    words = iter(device_options(profile))
    return zip(words, words, strict=True)


def _slots(wanted: int) -> Iterator[str]:
    """Where each of so many root ports goes, as QEMU's properties: on a slot of its own that QEMU
    chooses, or eight on each, from the last one down, where there are more than those fit."""
    for port in range(wanted):
        place = f"chassis={port + 1},slot={port + 1}"
        if wanted > ONE_PORT_EACH:
            slot, function = divmod(port, _FUNCTIONS)
            place += f",addr={_LAST_SLOT - slot:#x}.{function},multifunction=on"
        yield place


def blockdev(node: dict[str, object]) -> str:
    """A block node as -blockdev takes it, whatever its path holds."""
    return json.dumps(node, separators=(",", ":"))


def _device(name: str, port: str, device: Device, slots: Iterator[str]) -> Iterator[str]:
    yield from _port(port, slots)
    match device:
        case NvmeController():
            yield from _nvme(name, port, device, slots)
        case VirtioBlk():
            yield from ("-device", ",".join(_virtio_blk(name, port, device)))
        case VirtioScsi():
            yield from ("-device", f"virtio-scsi-pci,id={name},bus={port}")
            yield from ("-device", ",".join(_scsi(name, device)))
        case HostBlock():
            yield from _host_block(name, port, device)
        case HostNvme():
            yield from ("-device", f"vfio-pci,id={name},bus={port},host={device.address}")


def _port(port: str, slots: Iterator[str]) -> Iterator[str]:
    # A root port of its own lets the controller be unplugged and plugged while the guest runs.
    yield from ("-device", f"pcie-root-port,id={port},{next(slots)}")


def _nvme(name: str, port: str, device: NvmeController, slots: Iterator[str]) -> Iterator[str]:
    """The controllers d0, d0c1, ... and, where they are several, their subsystem d0s.

    Namespaces are plugged into the first controller; in a subsystem QEMU moves them there and
    attaches them to all controllers that exist by then.
    """
    common = [f"serial={device.serial}", f"mdts={device.mdts}"]
    if device.subsystem:
        yield from ("-device", ",".join(_subsystem(name, device)))
        common.append(f"subsys={name}s")
    if device.atomic:
        # AWUN and AWUPF are zero-based (NVMe Base, Identify Controller); profiles count blocks.
        common.append(f"atomic.awun={device.atomic.awun - 1}")
        common.append(f"atomic.awupf={device.atomic.awupf - 1}")
        common.append(f"atomic.dn={_on(device.atomic.dn)}")
    yield from ("-device", ",".join([f"nvme,id={name},bus={port}", *common]))
    for number in range(1, device.controllers):
        yield from _port(f"{port}c{number}", slots)
        words = [f"nvme,id={name}c{number},bus={port}c{number}", *common]
        yield from ("-device", ",".join(words))
    for namespace in device.namespaces:
        words = [*_namespace(name, namespace)]
        if device.fdp:
            words.append(f"fdp.ruhs={';'.join(map(str, range(device.fdp.handles)))}")
        yield from ("-device", ",".join(words))


def _subsystem(name: str, device: NvmeController) -> Iterator[str]:
    yield f"nvme-subsys,id={name}s,nqn={device.serial}"
    if device.fdp:
        yield "fdp=on"
        yield f"fdp.runs={device.fdp.reclaim_unit}"
        yield f"fdp.nrg={device.fdp.reclaim_groups}"
        yield f"fdp.nruh={device.fdp.handles}"


def _namespace(controller: str, namespace: NvmeNamespace) -> Iterator[str]:
    name = f"{controller}n{namespace.nsid}"
    yield f"nvme-ns,id={name},bus={controller},drive={name}-top0,nsid={namespace.nsid}"
    yield f"logical_block_size={namespace.block_size}"
    yield f"physical_block_size={namespace.block_size}"
    yield f"mssrl={namespace.copy_limits.mssrl}"
    yield f"mcl={namespace.copy_limits.mcl}"
    # MSRC is zero-based (NVM Command Set 1.1, Identify Namespace); profiles count ranges.
    yield f"msrc={namespace.copy_limits.msrc - 1}"
    if namespace.metadata:
        yield f"ms={namespace.metadata},mset={int(namespace.extended)}"
    if namespace.pi:
        # PIF 2 is the 64-bit guard (NVM Command Set 1.1, Extended LBA Format).
        pif = 2 if namespace.guard == 64 else 0
        yield f"pi={namespace.pi},pil={int(namespace.pi_first)},pif={pif}"
    if not namespace.write_cache:
        yield "write-cache=off"
    if namespace.zoned:
        yield "zoned=on"
        yield f"zoned.zone_size={namespace.zoned.zone_size}"
        if namespace.zoned.zone_capacity:
            yield f"zoned.zone_capacity={namespace.zoned.zone_capacity}"
        yield f"zoned.max_open={namespace.zoned.max_open}"
        yield f"zoned.max_active={namespace.zoned.max_active}"
        if zrwa := namespace.zoned.zrwa:
            yield f"zoned.zrwas={zrwa.size},zoned.zrwafg={zrwa.flush_granularity}"
            yield f"zoned.numzrwa={zrwa.resources}"


def _virtio_blk(name: str, port: str, device: VirtioBlk) -> Iterator[str]:
    yield f"virtio-blk-pci,id={name},bus={port},drive={name}-top0,serial={device.serial}"
    yield f"discard={_on(device.discard)}"
    yield from _blocks(device.block_size, device.write_cache)


def _scsi(controller: str, device: VirtioScsi) -> Iterator[str]:
    name = f"{controller}l0"
    yield f"scsi-hd,id={name},bus={controller}.0,drive={name}-top0,serial={device.serial}"
    # Otherwise the first 20 characters of the serial, from which udev makes its links.
    yield f"device_id={device.serial}"
    yield f"rotation_rate={_ROTATION[device.rotational]}"
    if not device.discard:
        yield "discard_granularity=0"
    yield from _blocks(device.block_size, device.write_cache)


def _blocks(block_size: int, write_cache: bool) -> Iterator[str]:
    yield f"logical_block_size={block_size},physical_block_size={block_size}"
    yield f"write-cache={_on(write_cache)}"
    yield _REPORT


def _host_block(name: str, port: str, device: HostBlock) -> Iterator[str]:
    node: dict[str, object] = {
        "driver": "host_device",
        "node-name": f"{name}-host",
        "filename": device.path,
        # The host's page cache would be measured instead of the disk.
        "cache": {"direct": True},
        "aio": "native",
        "discard": "unmap",
    }
    yield from ("-blockdev", blockdev(node))
    words = [f"virtio-blk-pci,id={name},bus={port},drive={name}-host,serial={device.serial}"]
    yield from ("-device", ",".join([*words, *_blocks(device.block_size, write_cache=True)]))


def _on(value: bool) -> str:
    return "on" if value else "off"
