# SPDX-License-Identifier: GPL-2.0-or-later
"""Features that not every QEMU has: asked for only where a profile uses them, never by version."""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

from lab.errors import ProfileError
from lab.profile.models import Device, NvmeController, NvmeNamespace, Profile

Properties = Callable[[str], frozenset[str]]
"""The properties that QEMU has for a device type."""


@dataclass(frozen=True)
class MissingFeature:
    """A feature that was left out: of which device, and why."""

    device: str
    feature: str
    said: str


@dataclass(frozen=True)
class _Feature:
    """`needs` are device types and properties; `without` takes the feature from a controller."""

    name: str
    uses: Callable[[NvmeController], bool]
    without: Callable[[NvmeController], NvmeController]
    needs: tuple[tuple[str, str], ...]


def _each(change: Callable[[NvmeNamespace], NvmeNamespace]) -> Callable[..., NvmeController]:
    """A change of all namespaces as one of their controller."""

    def changed(controller: NvmeController) -> NvmeController:
        spaces = tuple(change(namespace) for namespace in controller.namespaces)
        return controller.model_copy(update={"namespaces": spaces})

    return changed


def _without_zrwa(namespace: NvmeNamespace) -> NvmeNamespace:
    if not namespace.zoned:
        return namespace
    zoned = namespace.zoned.model_copy(update={"zrwa": None})
    return namespace.model_copy(update={"zoned": zoned})


FEATURES = (
    _Feature(
        "fdp",
        lambda device: device.fdp is not None,
        lambda device: device.model_copy(update={"fdp": None}),
        (
            ("nvme-subsys", "fdp"),
            ("nvme-subsys", "fdp.runs"),
            ("nvme-subsys", "fdp.nrg"),
            ("nvme-subsys", "fdp.nruh"),
            ("nvme-ns", "fdp.ruhs"),
        ),
    ),
    _Feature(
        "atomic",
        lambda device: device.atomic is not None,
        lambda device: device.model_copy(update={"atomic": None}),
        (("nvme", "atomic.awun"), ("nvme", "atomic.awupf"), ("nvme", "atomic.dn")),
    ),
    _Feature(
        "zoned.zrwa",
        lambda device: any(space.zoned and space.zoned.zrwa for space in device.namespaces),
        _each(_without_zrwa),
        (("nvme-ns", "zoned.zrwas"), ("nvme-ns", "zoned.zrwafg"), ("nvme-ns", "zoned.numzrwa")),
    ),
    _Feature(
        "guard: 64",
        lambda device: any(space.guard == 64 for space in device.namespaces),
        _each(lambda space: space.model_copy(update={"guard": 16})),
        (("nvme-ns", "pif"),),
    ),
)


def supported(
    profile: Profile, qemu: str, properties: Properties
) -> tuple[Profile, tuple[MissingFeature, ...]]:
    """The profile without the features that the QEMU at `qemu` lacks, and what these are.

    Raises ProfileError when a device is required to have all of its features.
    """
    missing = tuple(lack for each in profile.devices for lack in _lacks(each, qemu, properties))
    return profile.model_copy(update={"devices": without(profile.devices, missing)}), missing


def without(devices: Iterable[Device], missing: Iterable[MissingFeature]) -> tuple[Device, ...]:
    """The devices as QEMU makes them: without the features that are missing."""
    lacking = {(lack.device, lack.feature) for lack in missing}
    return tuple(_without(device, lacking) for device in devices)


def _without(device: Device, lacking: Container[tuple[str, str]]) -> Device:
    for feature in FEATURES:
        if isinstance(device, NvmeController) and (device.serial, feature.name) in lacking:
            device = feature.without(device)
    return device


def _lacks(device: Device, qemu: str, properties: Properties) -> Iterator[MissingFeature]:
    if not isinstance(device, NvmeController):
        return
    for feature in FEATURES:
        if not feature.uses(device):
            continue
        lacking = [f"{kind},{name}" for kind, name in feature.needs if name not in properties(kind)]
        if not lacking:
            continue
        lack = MissingFeature(
            device.serial, feature.name, f"{qemu} has no -device {', '.join(lacking)}"
        )
        if device.required:
            raise ProfileError(
                f"not supported: {lack.feature} of device {lack.device}: {lack.said}",
                hint="name another QEMU with LAB_QEMU, or allow it to be left out with "
                "required: false",
            )
        yield lack
