# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks and layers of a profile, as offload paths look for them."""

from collections.abc import Iterator

from lab.profile.layers import BaseLayer
from lab.profile.models import CopyLimits, NvmeController, NvmeNamespace, Profile, stack
from lab.vm.graph import Drive, drives


def free_namespaces(profile: Profile) -> Iterator[tuple[Drive, NvmeNamespace]]:
    """Every emulated NVMe namespace that carries no layer."""
    used = stack(profile).users
    namespaces = {
        (device.serial, namespace.nsid): namespace
        for device in profile.devices
        if isinstance(device, NvmeController)
        for namespace in device.namespaces
    }
    for drive in drives(profile):
        namespace = namespaces.get((drive.serial, drive.nsid))
        if namespace and reference(drive) not in used:
            yield drive, namespace


def copy_limits(profile: Profile, drive: Drive) -> CopyLimits:
    """What one Copy on an emulated NVMe namespace may be."""
    return next(
        namespace.copy_limits
        for device in profile.devices
        if isinstance(device, NvmeController) and device.serial == drive.serial
        for namespace in device.namespaces
        if namespace.nsid == drive.nsid
    )


def free_layers(profile: Profile) -> Iterator[BaseLayer]:
    """Every layer that no other stands on."""
    used = stack(profile).users
    return (layer for layer in profile.layers if layer.name not in used)


def reference(drive: Drive) -> str:
    """How a profile names a drive."""
    return f"{drive.serial}:{drive.nsid}" if drive.nsid else drive.serial


def full_name(profile: Profile, ref: str) -> str:
    """What candidates call the disk or layer `ref`: SERIAL:NSID of a namespace that goes by its
    serial alone."""
    node = stack(profile).nodes.get(ref)
    return node.ref if node else ref


def layer_called(profile: Profile, name: str) -> BaseLayer | None:
    """The layer of that name; its parts (NAME:PART) are it too."""
    wanted = name.partition(":")[0]
    return next((layer for layer in profile.layers if layer.name == wanted), None)


def downwards(profile: Profile, ref: str) -> Iterator[BaseLayer]:
    """A layer and those below it; of one that stands on several only what is below its data, or
    below the first that has some of them."""
    while layer := layer_called(profile, ref):
        yield layer
        ref = layer.data_on


def bottom(profile: Profile, ref: str) -> Drive | None:
    """The emulated disk at the bottom of a layer; where it stands on several, the first that has
    data.  None where there is none, as under null_blk or behind a peer."""
    for layer in downwards(profile, ref):
        ref = layer.data_on
    return disk_called(profile, ref)


def bottoms(profile: Profile, ref: str) -> list[Drive]:
    """Every emulated disk below a layer, that of bottom() first."""
    found: dict[Drive, None] = dict.fromkeys(filter(None, [bottom(profile, ref)]))
    waiting = [ref]
    while waiting:
        ref = waiting.pop(0)
        if layer := layer_called(profile, ref):
            waiting += [use.ref for use in layer.uses()]
        elif drive := disk_called(profile, ref):
            found[drive] = None
    return list(found)


def zoned(profile: Profile, drive: Drive) -> bool:
    """Whether a drive is a zoned namespace."""
    return any(
        namespace.zoned is not None
        for device in profile.devices
        if isinstance(device, NvmeController) and device.serial == drive.serial
        for namespace in device.namespaces
        if namespace.nsid == drive.nsid
    )


def disk_called(profile: Profile, ref: str) -> Drive | None:
    """The emulated disk that a profile names so, SERIAL or SERIAL:NSID; None if it is none."""
    for drive in drives(profile):
        if ref in (reference(drive), drive.serial):
            return drive
    return None
