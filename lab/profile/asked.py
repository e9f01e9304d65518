# SPDX-License-Identifier: GPL-2.0-or-later
"""What a profile asks of a disk, by its keys: the guest reads each back when it comes up.

How each key is read, guest-scripts/layers/disk_properties.py and nvme_properties.py know.
"""

from collections.abc import Iterator

from lab.profile.devices import Device
from lab.profile.hostdev import HostBlock
from lab.profile.nvme import NvmeController, NvmeNamespace
from lab.profile.nvme_features import ZoneSettings
from lab.profile.virtio import VirtioBlk, VirtioScsi

Value = int | bool | str


def asked(device: Device, nsid: int | None) -> dict[str, Value]:
    """What is asked of a device, or of its namespace with that id; sizes in bytes.

    Left out is what the guest cannot see at all, or what stands for "as it comes".
    """
    match device:
        case NvmeController():
            namespace = next(space for space in device.namespaces if space.nsid == nsid)
            return dict((*_controller(device), *_namespace(namespace)))
        case VirtioBlk() | VirtioScsi():
            rotational = {"rotational": device.rotational} if isinstance(device, VirtioScsi) else {}
            return {
                "size": device.size,
                "block_size": device.block_size,
                "discard": device.discard,
                "write_cache": device.write_cache,
                **rotational,
                **_scheduler(device),
            }
        case HostBlock():
            return {"block_size": device.block_size}
    return {}


def _scheduler(device: NvmeNamespace | VirtioBlk | VirtioScsi) -> dict[str, Value]:
    """The only thing asked of the guest itself, which sets it first."""
    return {"scheduler": device.scheduler} if device.scheduler else {}


def _controller(device: NvmeController) -> Iterator[tuple[str, Value]]:
    yield "mdts", device.mdts
    yield "controllers", device.controllers
    yield "fdp", device.fdp is not None
    # The feature is the controller's, and says yes if any of its namespaces has a cache.
    yield "write_cache", any(space.write_cache for space in device.namespaces)
    if device.atomic:
        yield "atomic.awun", device.atomic.awun
        yield "atomic.awupf", device.atomic.awupf
        yield "atomic.dn", device.atomic.dn


def _namespace(namespace: NvmeNamespace) -> Iterator[tuple[str, Value]]:
    limits = namespace.copy_limits
    yield from (("copy.mssrl", limits.mssrl), ("copy.mcl", limits.mcl), ("copy.msrc", limits.msrc))
    yield "metadata", namespace.metadata
    yield "extended", namespace.extended
    yield "pi", namespace.pi
    yield "pi_first", namespace.pi_first
    if namespace.extended:
        return  # Linux shows it with size 0 and blocks of 512 bytes, see the key's description
    yield "size", namespace.size
    yield "block_size", namespace.block_size
    yield from _scheduler(namespace).items()
    if namespace.pi:
        yield "guard", namespace.guard
    if namespace.zoned:
        yield from _zones(namespace.zoned)


def _zones(zoned: ZoneSettings) -> Iterator[tuple[str, Value]]:
    yield "zoned.zone_size", zoned.zone_size
    yield "zoned.zone_capacity", zoned.capacity
    # QEMU hw/nvme/ns.c, nvme_ns_zoned_check_calc_geometry: what is active is also a limit of what
    # is open.
    yield "zoned.max_open", zoned.max_open or zoned.max_active
    yield "zoned.max_active", zoned.max_active
    if zrwa := zoned.zrwa:
        yield "zoned.zrwa.size", zrwa.size
        yield "zoned.zrwa.flush_granularity", zrwa.flush_granularity
        yield "zoned.zrwa.resources", zrwa.resources
