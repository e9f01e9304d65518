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


def downwards(profile: Profile, ref: str) -> Iterator[BaseLayer]:
    """A layer and those below it; of one that stands on several only what is below the first."""
    while layer := layer_called(profile, ref):
        yield layer
        use = next(layer.uses(), None)
        ref = use.ref if use else ""


def bottom(profile: Profile, ref: str) -> Drive | None:
    """The emulated disk at the bottom of a layer; the first, where it stands on several.  None
    where there is none, as under null_blk or behind a peer."""
    for layer in downwards(profile, ref):
        use = next(layer.uses(), None)
        ref = use.ref if use else ""
    return disk_called(profile, ref)


def disk_called(profile: Profile, ref: str) -> Drive | None:
    """The emulated disk that a profile names so, SERIAL or SERIAL:NSID; None if it is none."""
    for drive in drives(profile):
        if ref in (reference(drive), drive.serial):
            return drive
    return None
