"""A profile drawn as a tree, as `lab profile show` and `lab up` print it."""

from rich.text import Text
from rich.tree import Tree

from lab.profile.models import NvmeController, NvmeNamespace, Profile
from lab.profile.units import format_duration, format_size


def tree(profile: Profile) -> Tree:
    """Machine, guest and devices of a profile, defaults included."""
    # Text, not str: brackets are no markup.
    whole = Tree(Text(f"{profile.name}: {profile.description.strip()}"))
    machine, guest = profile.machine, profile.guest
    memory = format_size(machine.memory)
    whole.add(Text(f"machine: {machine.cpus} CPUs, {memory} memory, network {machine.network}"))
    branch = whole.add(Text(f"guest: image {profile.image}, kernel {profile.kernel}"))
    branch.add(Text(f"nvme_io_timeout {format_duration(guest.nvme_io_timeout)}"))
    if guest.kernel_args:
        branch.add(Text(f"kernel_args {' '.join(guest.kernel_args)}"))
    devices = whole.add(Text("devices"))
    for device in profile.devices:
        _add_nvme(devices, device)
    return whole


def _add_nvme(tree: Tree, controller: NvmeController) -> None:
    branch = tree.add(Text(f"nvme {controller.serial}, mdts {controller.mdts}"))
    for namespace in controller.namespaces:
        _add_namespace(branch, namespace)


def _add_namespace(tree: Tree, namespace: NvmeNamespace) -> None:
    size, block = format_size(namespace.size), namespace.block_size
    leaf = tree.add(
        Text(f"namespace {namespace.nsid}: {size}, {namespace.blocks} blocks of {block} bytes")
    )
    copy = namespace.copy_limits
    leaf.add(
        Text(f"copy: msrc {copy.msrc} ranges, mssrl {copy.mssrl} blocks, mcl {copy.mcl} blocks")
    )
    if zoned := namespace.zoned:
        zone, capacity = format_size(zoned.zone_size), format_size(zoned.capacity)
        leaf.add(Text(f"zones: {namespace.zones} of {zone}, {capacity} writable"))
        leaf.add(
            Text(f"open at once: {zoned.max_open or 'any'}; active: {zoned.max_active or 'any'}")
        )
