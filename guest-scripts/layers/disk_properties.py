# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel made of the disks that the profile asks for, by the profile's keys.

The host says what it asked of each disk (lab/profile/asked.py); how each key is read, is here, and
in nvme_properties.py.  A reader takes the device and returns what was made, and where that stands.
"""

import properties
import system

LARGE = (
    "this kernel takes no blocks of that size, most likely because they are larger than its pages: "
    "name another with --kernel, or a block_size of at most 4096"
)
PAGE = 4096
PIECE = 256
"""Zones looked at together."""

DRIVERS = {"nvme": ("nvme",), "virtio-blk": ("virtio_blk",), "scsi": ("sd ", "scsi")}
"""Words of the kernel's messages about each kind of disk."""


def of_disk(disk, device):
    """The properties of a disk of the profile, read back one after the other."""
    readers = READERS
    if disk["kind"] == "nvme" and disk["asked"]:
        import nvme_properties

        readers = READERS | nvme_properties.readers(system.block_name(device))
    yield from read_back(device, disk["asked"], readers)


def prepare(disk, device):
    """Set what is not the device's own, but this kernel's.  Raises Failure."""
    if scheduler := disk["asked"].get("scheduler"):
        system.write(properties.sysfs(device, "queue/scheduler"), scheduler)


def zones(zoned):
    """What is asked of a disk whose zones a layer describes so, by key; {} without zones."""
    if not zoned:
        return {}
    return {
        "zoned.zone_size": zoned["zone_size"],
        "zoned.zone_capacity": zoned["zone_capacity"] or zoned["zone_size"],
        "zoned.conventional": zoned["conventional"],
        "zoned.max_open": zoned["max_open"],
    }


def read_back(device, asked, readers=None):
    """The properties of a block device that are asked for by key."""
    for key, value in asked.items():
        made, where = (readers or READERS)[key](device)
        known = cure(asked) if key in ("size", "block_size") else ""
        yield properties.Asked(key, value, made, where, known)


def cure(asked):
    """What to do where a disk of which that is asked is not there, or has another size."""
    return LARGE if asked.get("block_size", 0) > PAGE else ""


def _size(device):
    return system.size_of(device), properties.sysfs(device, "size")


def _discard(device):
    most = properties.number(device, "queue/discard_max_bytes")
    return bool(most), properties.sysfs(device, "queue/discard_max_bytes")


def _rotational(device):
    made = properties.number(device, "queue/rotational")
    return made == 1, properties.sysfs(device, "queue/rotational")


def _zone_size(device):
    where = properties.sysfs(device, "queue/chunk_sectors")
    if not system.is_zoned(device):
        return None, properties.sysfs(device, "queue/zoned")
    return (properties.number(device, "queue/chunk_sectors") or 0) * system.SECTOR, where


def _zone_capacity(device):
    if not system.is_zoned(device):
        return None, properties.sysfs(device, "queue/zoned")
    import ioctls

    length, _ = _zone_size(device)
    with open(device, "rb", buffering=0) as file:
        (last,) = ioctls.zones(file.fileno(), system.size_of(device) - length, 1)
    return last.capacity, "BLKREPORTZONE"


def _conventional(device):
    if not system.is_zoned(device):
        return None, properties.sysfs(device, "queue/zoned")
    import ioctls

    count, length = 0, _zone_size(device)[0]
    with open(device, "rb", buffering=0) as file:
        while found := ioctls.zones(file.fileno(), count * length, PIECE):
            count += sum(not zone.sequential for zone in found)
            if found[-1].sequential:
                break
    return count, "BLKREPORTZONE"


def _scheduler(device):
    where = properties.sysfs(device, "queue/scheduler")
    chosen = [word for word in system.queue(device, "scheduler").split() if word[0] == "["]
    return chosen[0].strip("[]") if chosen else None, where


def _numbered(attribute):
    """The reader of a number in sysfs."""
    return lambda device: (
        properties.number(device, attribute),
        properties.sysfs(device, attribute),
    )


READERS = {
    "size": _size,
    "block_size": _numbered("queue/logical_block_size"),
    "write_cache": properties.write_cache,
    "discard": _discard,
    "rotational": _rotational,
    "scheduler": _scheduler,
    "zoned.zone_size": _zone_size,
    "zoned.zone_capacity": _zone_capacity,
    "zoned.conventional": _conventional,
    "zoned.max_open": _numbered("queue/max_open_zones"),
    "zoned.max_active": _numbered("queue/max_active_zones"),
}
"""How each key is read that the kernel shows in sysfs or by an ioctl."""
