# SPDX-License-Identifier: GPL-2.0-or-later
"""How layers stand on disks and on each other: resolved, and checked before anything starts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lab.profile.base import Conflict
from lab.profile.disk import Disk
from lab.profile.layers import BaseLayer, Node, Use
from lab.profile.layers.synthetic import ScsiDebug
from lab.profile.units import format_size

_WORDS = {
    "block": "a block device",
    "directory": "a file system",
    "export": "an export of the peer",
}


@dataclass
class Stack:
    """Nodes by every name they go by, who stands on what, and what is wrong."""

    nodes: dict[str, Node] = field(default_factory=dict)
    users: dict[str, list[tuple[str, tuple[int, int] | None]]] = field(default_factory=dict)
    """By reference: names of the layers that stand on it, and the extent that each uses."""
    conflicts: list[Conflict] = field(default_factory=list)


def build(
    disks: Iterable[Disk], layers: Sequence[BaseLayer], exports: Iterable[Node] = ()
) -> Stack:
    """Put the layers on the disks, in order.

    The paths of `conflicts` start with "layers".  A layer that stands on something unknown
    offers nothing, and those above it are not blamed for that.
    """
    built = Stack()
    for disk in disks:
        node = Node(disk.ref, "block", disk.size, disk.block_size or 512, disk.zoned is not None)
        built.nodes.update(dict.fromkeys(filter(None, (disk.ref, disk.alias)), node))
    for node in exports:
        built.nodes.setdefault(node.ref, node)
    unknown: set[str] = set()
    names = {layer.name for layer in layers}
    for index, layer in enumerate(layers):
        problems = list(_problems(layer, built, layers[:index], names, unknown))
        below = [built.nodes.get(use.ref) for use in layer.uses()]
        if not problems and None not in below:
            problems = list(layer.misfits([node for node in below if node]))
        built.conflicts += [(("layers", index, *path), message) for path, message in problems]
        if problems or None in below:
            unknown.add(layer.name)
            continue
        for use in layer.uses():
            node = built.nodes[use.ref]
            built.users.setdefault(node.ref, []).append((layer.name, use.extent))
        for node in layer.offers([node for node in below if node]):
            built.nodes[node.ref] = node
    return built


def _problems(
    layer: BaseLayer,
    built: Stack,
    before: Sequence[BaseLayer],
    names: set[str],
    unknown: set[str],
) -> Iterator[Conflict]:
    if layer.name in built.nodes or any(layer.name == other.name for other in before):
        yield ("name",), f"{layer.name!r} is taken; expected a name of its own"
    if isinstance(layer, ScsiDebug) and any(isinstance(other, ScsiDebug) for other in before):
        yield ("type",), "the guest's scsi_debug makes one kind of disk; expected it once"
    mine: list[Use] = []
    for use in layer.uses():
        node = built.nodes.get(use.ref)
        if node is None:
            if use.ref.partition(":")[0] not in unknown:
                yield use.key, _nothing(use, built, names)
            continue
        misfits = list(_misfits(use, node)) or list(_taken(use, node, built, mine))
        yield from ((use.key, message) for message in misfits)
        mine.append(use)


def _nothing(use: Use, built: Stack, names: set[str]) -> str:
    if use.ref.partition(":")[0] in names:
        return f"{use.ref!r} comes later; expected a disk or a layer above in the file"
    known = [ref for ref, node in built.nodes.items() if node.kind in use.kinds]
    return f"nothing is called {use.ref!r}; expected one of: {', '.join(known) or '(none so far)'}"


def _misfits(use: Use, node: Node) -> Iterator[str]:
    wanted = " or ".join(_WORDS[kind] for kind in use.kinds)
    if node.kind not in use.kinds:
        yield f"{use.ref} is {_WORDS[node.kind]}; expected {wanted}"
        return
    if use.local and node.remote:
        yield f"{use.ref} comes from a server; expected a file system of this guest"
    if node.kind != "block":
        return
    if use.zoned is not None and use.zoned != node.zoned:
        is_zoned, expected = ("", "one without zones") if node.zoned else ("not ", "a zoned one")
        yield f"{use.ref} is {is_zoned}zoned; expected {expected}"
    if use.writes and node.read_only:
        yield f"{use.ref} is read-only; expected a device that can be written"
    if node.size is not None and use.least > node.size:
        yield (
            f"{format_size(use.least)} are needed of {use.ref}, which has "
            f"{format_size(node.size)}; expected less"
        )


def _taken(use: Use, node: Node, built: Stack, mine: Sequence[Use]) -> Iterator[str]:
    """A block device belongs to one layer, or its parts to several."""
    if node.kind != "block":
        return
    others = list(built.users.get(node.ref, ()))
    others += [("this layer", own.extent) for own in mine if built.nodes[own.ref] is node]
    for name, extent in others:
        if _overlap(extent, use.extent):
            yield f"{name} stands on {use.ref} already; expected a free block device"
            return
    if node.within and node.within in built.users:
        name = built.users[node.within][0][0]
        yield f"{name} stands on all of {node.within} already; expected a free block device"
    for other in built.nodes.values():
        if other.within == node.ref and other.ref in built.users:
            name = built.users[other.ref][0][0]
            yield f"{name} stands on {other.ref}, a part of it; expected a free block device"
            return


def _overlap(one: tuple[int, int] | None, other: tuple[int, int] | None) -> bool:
    if one is None or other is None:
        return True
    return one[0] < other[0] + other[1] and other[0] < one[0] + one[1]
