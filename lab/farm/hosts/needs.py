# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run needs of a host, what a host offers, and why the one does not go with the other."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lab import __version__
from lab.profile.models import HostBlock, HostNvme, Peer, Profile

_FROZEN = ConfigDict(frozen=True, extra="forbid")

BESIDE = 256 << 20
"""Bytes that the QEMU of a guest takes besides the guest's memory."""


class Needs(BaseModel):
    """What a host must have to carry a run out."""

    model_config = _FROZEN

    memory: int
    """Bytes, of all guests of the run together."""
    cpus: int
    """Virtual ones, likewise; a host with fewer is only slower."""
    labels: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    """Disks and PCI devices of the host, as the profile names them."""
    trees: tuple[str, ...] = ()
    """Suites from elsewhere, of which the host must have a built tree."""
    paths: tuple[str, ...] = ()
    """Kernels, QEMUs and profiles that are named by a path, or by a name given on one host."""
    kernel: str = ""
    """The artifact in the depot that such a kernel is, where it was brought there."""

    @property
    def queue(self) -> str:
        """The name of the queue of all runs that need the same, of this version of the lab."""
        return queue_of(__version__, hashlib.sha256(self.model_dump_json().encode()).hexdigest())


class Offer(BaseModel):
    """What a host has that runs may need."""

    model_config = _FROZEN

    version: str
    """Of its lab."""
    memory: int
    """Bytes, whatever else runs there."""
    labels: tuple[str, ...] = ()
    """Those that its user gave it, and `kvm` where that runs a kernel."""
    devices: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    depot: bool = False
    """Whether it reaches one."""


def queue_of(version: str, needs: str) -> str:
    """The queue of runs with some needs, which only a lab of that version carries out: another
    would not come to the same."""
    return f"lab {version} {needs[:16]}"


def needs_of(
    profile: Profile, labels: Iterable[str], trees: Iterable[str], paths: Iterable[str]
) -> Needs:
    """What a run on a profile needs."""
    machines: list[Profile | Peer] = [profile, *([profile.peer] if profile.peer else [])]
    devices = [device for machine in machines for device in machine.devices]
    return Needs(
        memory=sum(machine.machine.memory + BESIDE for machine in machines),
        cpus=sum(machine.machine.cpus for machine in machines),
        labels=tuple(sorted(set(labels))),
        devices=tuple(
            [one.path for one in devices if isinstance(one, HostBlock)]
            + [one.address for one in devices if isinstance(one, HostNvme)]
        ),
        trees=tuple(sorted(set(trees))),
        paths=tuple(sorted(set(paths))),
    )


def refusals(needs: Needs, offer: Offer, version: str = __version__) -> Iterator[str]:
    """Why a host cannot carry out a run that was left to a lab of `version`; nothing if it can."""
    if offer.version != version:
        yield f"its lab is {offer.version}, the night's {version}"
    if needs.memory > offer.memory:
        yield f"{_gib(needs.memory)} of memory needed, it has {_gib(offer.memory)}"
    if needs.kernel and not offer.depot:
        yield f"no LAB_ARTIFACTS, where the kernel {needs.kernel} is"
    for what, wanted, there in (
        ("label", needs.labels, offer.labels),
        ("device", needs.devices, offer.devices),
        ("built tree of", needs.trees, offer.trees),
        ("", needs.paths, offer.paths),
    ):
        for one in wanted:
            if one not in there and not (what == "device" and one in _resolved(there)):
                yield f"no {what} {one}".replace("  ", " ")


def _resolved(devices: Iterable[str]) -> set[str]:
    """Devices of this very host by their other names; on another they mean nothing."""
    return {str(Path(one).resolve()) for one in devices if one.startswith("/dev/")}


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
