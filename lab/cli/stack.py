# SPDX-License-Identifier: GPL-2.0-or-later
"""A profile drawn as a tree, as `lab profile show` and `lab up` print it: disks, the layers that
stand on them, and, of a running guest, where each is and what its kernel offers there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from lab.profile.disk import Disk, disks
from lab.profile.layers import BaseLayer
from lab.profile.models import HostNvme, NvmeController, NvmeNamespace, Peer, Profile, stack
from lab.profile.units import format_duration, format_size
from lab.vm.support import without

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lab.guest.readback import Setting
    from lab.guest.stack import StackPart
    from lab.vm.support import MissingFeature

_SHOWN_ELSEWHERE = {"name", "type", "over", "size", "required", "mount"}

_TOLD = ("zones", "integrity", "table")
"""Facts among the capabilities that the tree tells; others would repeat what it has."""
_HIDDEN_KEY = re.compile(r"\b0{32,}\b")
"""What dmsetup shows in place of a key."""
_FACTS = (*_TOLD, "block size", "write cache", "mount options")


@dataclass(frozen=True)
class StackListing:
    """What a running guest has, what its QEMU lacks, and what became of its kernel's settings."""

    parts: tuple[StackPart, ...] = ()
    missing: tuple[MissingFeature, ...] = ()
    settings: tuple[Setting, ...] = ()


_NOTHING = StackListing()
"""Of a profile that was not booted."""


def tree(profile: Profile, found: StackListing = _NOTHING, peer: StackListing = _NOTHING) -> Tree:
    """Machine, guest, disks and layers of a profile, with what was found in a running guest."""
    whole = Tree(_text(f"{profile.name}: {' '.join(profile.description.split())}"))
    _add_system(whole, profile, found)
    if profile.path:
        whole.add(_text(f"path: {profile.path}"))
    if profile.peer:
        branch = whole.add(_text("peer, at the other end of a private link"))
        _add_system(branch, profile.peer, peer)
    return whole


def _text(words: str, style: str = "") -> Text:
    """Text, not str: brackets are no markup.  Its lines may be broken anywhere."""
    return Text(words, style=style, overflow="fold")


def _add_system(whole: Tree, of: Profile | Peer, found: StackListing) -> None:
    parts = {part.name: part for part in found.parts}
    of = of.model_copy(update={"devices": without(of.devices, found.missing)})
    machine, guest = of.machine, of.guest
    memory = format_size(machine.memory)
    whole.add(_text(f"machine: {machine.cpus} CPUs, {memory} memory, network {machine.network}"))
    timeout = format_duration(guest.nvme_io_timeout)
    words = f"guest: image {of.image}, kernel {of.kernel}, nvme_io_timeout {timeout}"
    branch = whole.add(_text(words))
    if guest.kernel_args:
        branch.add(_text(f"kernel_args {' '.join(guest.kernel_args)}"))
    branches: dict[str, Tree] = {}
    for disk in disks(of):
        branch = whole.add(_titled(disk.ref, _disk(disk, of), parts.get(disk.ref)))
        facts = [*_disk_facts(disk, of), *_missing(disk, branches, found.missing)]
        _add_facts(branch, facts, parts.get(disk.ref))
        branches |= {disk.ref: branch, disk.alias: branch}
    _add_layers(whole, branches, of, parts)


def _add_layers(
    whole: Tree, branches: dict[str, Tree], of: Profile | Peer, parts: Mapping[str, StackPart]
) -> None:
    nodes = stack(of).nodes
    for layer in of.layers:
        refs = [use.ref for use in layer.uses()]
        parent = branches.get(refs[0], whole) if refs else whole
        part = parts.get(layer.name)
        node = nodes.get(layer.name)
        size = node.size if node else None
        words = _layer(layer, part.size if part and size is None else size)
        branch = parent.add(_titled(layer.name, words, part))
        _add_facts(branch, (), part)
        branches[layer.name] = branch
        for other in dict.fromkeys(refs[1:]):
            if other in branches and branches[other] is not parent:
                branches[other].add(_text(f"→ {layer.name}", "dim"))
        for ref, node in nodes.items():
            if ref.startswith(f"{layer.name}:"):
                branches[ref] = branch.add(_titled(ref, _size(node.size), None))


def _titled(name: str, words: Iterable[str], part: StackPart | None) -> Text:
    """One line: name, what it is, where it is."""
    line = _text(name, "bold")
    line.append("  " + ", ".join(filter(None, words)), style="not bold")
    if part is None:
        return line
    where = part.mount or part.devices.get("")
    if part.status == "up" and where:
        line.append(f"  {where}", style="not bold green")
    elif part.status != "up":
        line.append(f"  {part.status}: {part.why()}", style="not bold red")
    return line


def _add_facts(branch: Tree, facts: Iterable[str], part: StackPart | None) -> None:
    """What is known beforehand, then what was found: what works, and what does not."""
    for fact in facts:
        branch.add(_text(fact))
    found = part.capabilities if part else ()
    for each in found:
        if each.capability in _TOLD:
            said = _HIDDEN_KEY.sub("(key)", each.said)
            branch.add(_text(f"{each.capability}: {said}", "dim"))
    for each in found:
        if each.wrong:
            branch.add(_text(f"WRONG: {each.capability}: {each.said}", "bold red"))
    for title, supported in (("works", True), ("not supported", False)):
        names = [
            each.capability for each in found if each.supported is supported and not each.wrong
        ]
        if names := [name for name in names if not _is_fact(name)]:
            branch.add(_text(f"{title}: {', '.join(names)}", "dim"))


def _is_fact(capability: str) -> bool:
    """Whether it says how something is, rather than what works."""
    return capability in _FACTS or capability.startswith("target ")


def _size(size: int | None) -> Sequence[str]:
    return () if size is None else (format_size(size),)


def _disk(disk: Disk, of: Profile | Peer) -> Iterable[str]:
    device = of.devices[disk.device]
    yield device.type
    yield from _size(disk.size)
    if not isinstance(device, HostNvme):  # of which only the host knows
        metadata = f"+{disk.metadata}" if disk.metadata else ""
        yield f"blocks of {disk.block_size}{metadata} bytes"


def _disk_facts(disk: Disk, of: Profile | Peer) -> Iterable[str]:
    device = of.devices[disk.device]
    if not isinstance(device, NvmeController):
        if words := _options(device, {"serial", "block_size", "overwrite"}):
            yield ", ".join(words)
        return
    if disk is disks(of)[0] or disk.nsid == device.namespaces[0].nsid:
        words = [f"mdts {device.mdts}", *_options(device, {"serial", "namespaces", "mdts"})]
        yield f"controller: {', '.join(words)}"
    namespace = next(space for space in device.namespaces if space.nsid == disk.nsid)
    yield from _namespace(namespace)


def _missing(disk: Disk, above: Iterable[str], missing: Iterable[MissingFeature]) -> Iterable[str]:
    """What QEMU lacks for a device, at the first of its disks; `above` are those drawn before."""
    if any(ref.partition(":")[0] == disk.serial for ref in above):
        return
    if names := [lack.feature for lack in missing if lack.device == disk.serial]:
        yield f"this QEMU has no: {', '.join(names)}"


def _namespace(namespace: NvmeNamespace) -> Iterable[str]:
    copy = namespace.copy_limits
    if copy.none:
        yield "copy: none"
    else:
        yield f"copy: msrc {copy.msrc} ranges, mssrl {copy.mssrl} blocks, mcl {copy.mcl} blocks"
    shown = {"nsid", "block_size", "copy_limits", "zoned", "metadata"}
    if words := _options(namespace, shown):
        yield ", ".join(words)
    if zoned := namespace.zoned:
        zone, capacity = format_size(zoned.zone_size), format_size(zoned.capacity)
        yield f"zones: {namespace.zones} of {zone}, {capacity} writable"
        yield f"open at once: {zoned.max_open or 'any'}; active: {zoned.max_active or 'any'}"
        if zrwa := zoned.zrwa:
            window, flush = format_size(zrwa.size), format_size(zrwa.flush_granularity)
            yield f"ZRWA: {window}, flushed by {flush}, in {zrwa.resources} zones at once"


def _layer(layer: BaseLayer, size: int | None) -> Iterable[str]:
    yield str(layer.model_dump()["type"])
    yield from _size(size)
    yield from _options(layer, set())
    if not layer.required:
        yield "not required"


def _options(model: BaseModel, shown: set[str]) -> list[str]:
    """The keys that differ from their defaults, in words."""
    changed = model.model_dump(
        mode="json", exclude_defaults=True, by_alias=False, exclude=shown | _SHOWN_ELSEWHERE
    )
    return [_option(key, value) for key, value in changed.items()]


def _option(key: str, value: object) -> str:
    words = key.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    return f"{words} {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return " + ".join(map(_value, value))
    if isinstance(value, int) and value >= 4096 and value % 1024 == 0:
        return format_size(value)
    return str(value)
