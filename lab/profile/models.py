# SPDX-License-Identifier: GPL-2.0-or-later
"""The profile: what a guest is made of."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lab.profile.base import Conflict, ProfileModel
from lab.profile.device_rules import between
from lab.profile.devices import Device
from lab.profile.disk import disks
from lab.profile.fields import Span, Text
from lab.profile.hostdev import HostBlock, HostNvme
from lab.profile.layers import Node
from lab.profile.layers.kinds import Layer
from lab.profile.nvme import NvmeController, NvmeNamespace
from lab.profile.nvme_features import CopyLimits, ZoneSettings
from lab.profile.own_path import OptionalPath
from lab.profile.stack import Stack, build
from lab.profile.units import Duration, Size, format_duration, format_size
from lab.profile.virtio import VirtioBlk, VirtioScsi

__all__ = [
    "CopyLimits",
    "Device",
    "GuestSettings",
    "HostBlock",
    "HostNvme",
    "Layer",
    "MachineSettings",
    "NvmeController",
    "NvmeNamespace",
    "Peer",
    "Profile",
    "VirtioBlk",
    "VirtioScsi",
    "ZoneSettings",
    "stack",
]

MIN_MEMORY = 256 * 2**20
MAX_IO_TIMEOUT = 4294967
"""Seconds; the kernel keeps nvme_core.io_timeout in milliseconds, in 32 bits."""

Reference = Annotated[
    str, Text(r"[!-~]([ -~]*[!-~])?", "printable ASCII without spaces at its ends")
]


Image = Annotated[Reference, Field(description="Root file system to boot, see `lab image list`")]
Kernel = Annotated[Reference, Field(description="Kernel to boot, see `lab kernel list`")]
Qemu = Annotated[
    Reference,
    Field(
        description="QEMU to run in, see `lab qemu list`; host: the host's own, or LAB_QEMU. A "
        "peer whose QEMU is the host's runs in that of the profile"
    ),
]


def _enough_memory(memory: int) -> int:
    if memory < MIN_MEMORY:
        raise ValueError(
            f"{format_size(memory)} is too little to boot; "
            f"expected at least {format_size(MIN_MEMORY)}"
        )
    return memory


def _io_timeout(seconds: float) -> float:
    if not seconds.is_integer() or not 1 <= seconds <= MAX_IO_TIMEOUT:
        raise ValueError(
            f"{format_duration(seconds)} does not fit; "
            f"expected whole seconds from 1s to {MAX_IO_TIMEOUT}s"
        )
    return seconds


def _some_time(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError(f"{format_duration(seconds)} is no time; expected more, such as 2m")
    return seconds


class MachineSettings(ProfileModel):
    """The virtual machine around the guest."""

    cpus: Annotated[int, Span(1, 64, "CPUs")] = Field(2, description="Virtual CPUs")
    memory: Annotated[Size, AfterValidator(_enough_memory)] = Field(
        2**30,
        description="Bytes of memory, such as 1G; at least 256M",
        json_schema_extra={"default": "1G"},
    )
    network: Literal["none", "user"] = Field(
        "none",
        description="none: nothing but the lab's own connection; user: QEMU's user-mode network, "
        "through which the guest reaches the outside",
    )
    qemu: Qemu = "host"


class GuestSettings(ProfileModel):
    """How the Linux inside is booted."""

    nvme_io_timeout: Annotated[Duration, AfterValidator(_io_timeout)] = Field(
        3600.0,
        description="How long the NVMe driver waits for a command before it aborts it "
        "(nvme_core.io_timeout), such as 30s or 1h. Long by default: a copy that is held at a "
        "point must outlast it",
        json_schema_extra={"default": "1h"},
    )
    boot_deadline: Annotated[Duration, AfterValidator(_some_time)] = Field(
        120.0,
        description="How long the guest may take to get ready before the lab gives it up, "
        "such as 2m",
        json_schema_extra={"default": "2m"},
    )
    boot: Literal["checkpoint", "cold"] = Field(
        "checkpoint",
        description="checkpoint: begin from a checkpoint of a booted guest, where there is one; "
        "cold: boot each time",
    )
    spares: Annotated[int, Span(0, 8, "guests")] = Field(
        1,
        description="How many guests wait, restored from the checkpoint, to take over from the one "
        "of a run that kills it",
    )
    kernel_args: tuple[Reference, ...] = Field(
        (), description="Arguments added to the kernel's command line"
    )


Devices = Annotated[
    tuple[Device, ...], Field(description="What QEMU emulates: the storage under test")
]
Layers = Annotated[
    tuple[Layer, ...],
    Field(description="What the guest stacks on its disks, in order, each with a name"),
]


class Peer(ProfileModel):
    """The guest at the other end of a private link: a server or target for the profile's own."""

    image: Image = "trixie"
    kernel: Kernel = "debian"
    machine: MachineSettings = Field(MachineSettings(), description="The virtual machine")
    guest: GuestSettings = Field(GuestSettings(), description="How the guest's kernel is booted")
    devices: Devices = ()
    layers: Layers = ()

    def conflicts(self) -> Iterator[Conflict]:
        yield from between(self.devices)
        yield from stack(self).conflicts


class Profile(ProfileModel):
    """What a guest is made of: a machine, a Linux, devices and what is stacked on them."""

    name: Annotated[
        str,
        Text(
            r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
            "a file named with up to 64 letters, digits, '.', '_' and '-'",
        ),
    ] = Field(description="The file's name without its suffix; not a key of the file")
    description: Annotated[
        str,
        # Printable, several lines allowed; no escape sequences for the terminal it is shown on.
        Text(
            r"[^\s\x00-\x1f\x7f-\x9f][^\x00-\x09\x0b-\x1f\x7f-\x9f]*",
            "what the profile is for, in words",
        ),
    ] = Field(description="What the profile is for, in a sentence")
    image: Image = "trixie"
    kernel: Kernel = "debian"
    machine: MachineSettings = Field(MachineSettings(), description="The virtual machine")
    guest: GuestSettings = Field(GuestSettings(), description="How the guest's kernel is booted")
    devices: Devices = ()
    layers: Layers = ()
    path: OptionalPath = Field(
        None,
        description="The offload path that copy-faults and conformance take without --path, or its "
        "name alone. By default the first of docs/paths.md for which there is a place",
    )
    peer: Peer | None = Field(
        None,
        description="A second guest, booted before this one and joined to it by a private link",
    )

    @classmethod
    def yaml_keys(cls) -> list[str]:
        return [key for key in super().yaml_keys() if key != "name"]

    def conflicts(self) -> Iterator[Conflict]:
        if not self.devices and not self.layers:
            yield ("devices",), "nothing to test; expected at least one device, or a layer"
        yield from between(self.devices)
        yield from stack(self).conflicts


def stack(of: Profile | Peer) -> Stack:
    """The layers of a guest on its disks; those of a profile may stand on exports of its peer."""
    exports: list[Node] = []
    if isinstance(of, Profile) and of.peer:
        exports = [node for node in stack(of.peer).nodes.values() if node.kind == "export"]
    return build(disks(of), of.layers, exports)
