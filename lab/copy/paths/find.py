"""Disks and layers of a profile, as offload paths look for them."""

from collections.abc import Iterator

from lab.profile.layers import BaseLayer
from lab.profile.models import NvmeController, NvmeNamespace, Profile, stack
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


def free_layers(profile: Profile) -> Iterator[BaseLayer]:
    """Every layer that no other stands on."""
    used = stack(profile).users
    return (layer for layer in profile.layers if layer.name not in used)


def reference(drive: Drive) -> str:
    """How a profile names a drive."""
    return f"{drive.serial}:{drive.nsid}" if drive.nsid else drive.serial


def layer_called(profile: Profile, name: str) -> BaseLayer | None:
    """The layer of that name; its parts (NAME:PART) are it too."""
    wanted = name.partition(":")[0]
    return next((layer for layer in profile.layers if layer.name == wanted), None)


def below(profile: Profile, ref: str) -> BaseLayer | None:
    """The layer that a layer stands on first; None if that is a disk, or nothing."""
    layer = layer_called(profile, ref)
    use = next(layer.uses(), None) if layer else None
    return layer_called(profile, use.ref) if use else None


def bottom(profile: Profile, ref: str) -> Drive | None:
    """The emulated disk at the bottom of a layer; the first, where it stands on several.  None
    where there is none, as under null_blk or behind a peer."""
    while layer := layer_called(profile, ref):
        use = next(layer.uses(), None)
        if use is None:
            return None
        ref = use.ref
    return disk_called(profile, ref)


def disk_called(profile: Profile, ref: str) -> Drive | None:
    """The emulated disk that a profile names so, SERIAL or SERIAL:NSID; None if it is none."""
    for drive in drives(profile):
        if ref in (reference(drive), drive.serial):
            return drive
    return None
