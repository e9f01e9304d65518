# SPDX-License-Identifier: GPL-2.0-or-later
"""What this kernel really offers on a block device or a file system, found out by doing it.

What is written for a trial is restored.
"""

import os

import probe_copies
import system
from area import NotTried, area, block_size
from capability import Lacks, Lies, attempt, result


def block(device, other=None, why_not=""):
    """Capabilities of a block device; `other`, a name and a device, is one to copy from too.

    `why_not`: why nothing may be tried on it; what the kernel says of it is told all the same.
    """
    name = system.block_name(device)
    found = _described(device, name)
    copy = _nvme_limits(found, name)
    trials = [("copy_file_range", probe_copies.within)]
    if other:
        tried = f"copy_file_range from {other[0]}"
        trials.append((tried, lambda at: probe_copies.between(at, other[1])))
    if copy:
        trials.append(("NVMe Copy", lambda at: _nvme_copy(at, device, copy)))
    if not system.is_zoned(device):
        trials.append(("discard", lambda at: _discard(at, device)))
        trials.append(("write zeroes", lambda at: _zero_out(at, device)))
    if is_scsi(name):
        trials.append(("Extended Copy", lambda at: _extended_copy(at, device)))
    return found + _tried(device, trials, why_not)


def _described(device, name):
    """What sysfs and the device mapper say."""
    blocks = [system.queue(device, f"{kind}_block_size") for kind in ("logical", "physical")]
    cache = system.queue(device, "write_cache")
    found = [
        result("block size", True, f"{blocks[0]} bytes logical, {blocks[1]} physical"),
        result("write cache", cache == "write back", cache),
        attempt("copy limits", _copy_limits, device),
    ]
    if system.is_zoned(device):
        found.append(attempt("zones", _zones, device))
    profile = f"{system.BLOCK}/{name}/integrity/format"
    if os.path.exists(profile) and system.read(profile) != "none":
        found.append(result("integrity", True, system.read(profile)))
    if os.path.exists(f"{system.BLOCK}/{name}/dm/name"):
        found += _mapped(system.read(f"{system.BLOCK}/{name}/dm/name"))
    return found


def _copy_limits(device):
    queue = f"{system.BLOCK}/{system.block_name(device)}/queue"
    names = sorted(os.listdir(queue)) if os.path.isdir(queue) else []  # a partition has none
    limits = [f"{name} {system.read(f'{queue}/{name}')}" for name in names if "copy_" in name]
    if not limits:
        raise Lacks("no copy_* limits in sysfs")
    return ", ".join(limits)


def _zones(device):
    words = [system.queue(device, "zoned")]
    words.append(f"{system.queue(device, 'nr_zones')} zones")
    words.append(f"of {int(system.queue(device, 'chunk_sectors')) // 2} KiB")
    for limit in ("max_open_zones", "max_active_zones"):
        words.append(f"{limit} {system.queue(device, limit)}")
    return f"{words[0]}, {words[1]} {words[2]}, {', '.join(words[3:])}"


def _mapped(name):
    """The targets of a device-mapper device with their versions, and its table."""
    table = system.run(["dmsetup", "table", name]).strip()
    versions = dict(line.split() for line in system.run(["dmsetup", "targets"]).splitlines())
    for target in dict.fromkeys(line.split()[2] for line in table.splitlines()):
        yield result(f"target {target}", True, versions.get(target, "version not known"))
    yield result("table", True, table)


def _tried(device, trials, why_not):
    """The capabilities that trials on an area of the device show."""
    try:
        if why_not:
            raise NotTried(why_not)
        at = area(device)
    except NotTried as why:
        return [result(capability, None, f"not tried: {why}") for capability, _ in trials]
    with at:
        found = [attempt(capability, _trial, at, action) for capability, action in trials]
        restored = attempt("as it was before", _restore, at)
    return found if restored["supported"] else [*found, restored]


def _trial(at, action):
    at.prepare()
    return action(at)


def _restore(at):
    at.restore()
    return ""


def _nvme_limits(found, name):
    """The limits of Copy of an NVMe namespace, told in `found`; None if there are none."""
    if not os.path.exists(f"{system.BLOCK}/{name}/nsid"):
        return None
    import nvme_copy

    limits = []

    def ask():
        limits.append(nvme_copy.limits(name))
        if not limits[0].supported:
            raise Lacks(str(limits[0]))
        return str(limits[0])

    found.append(attempt("NVMe Copy limits", ask))
    return limits[0] if limits else None


def _nvme_copy(at, device, limits):
    import nvme_copy

    size = block_size(device)
    # At least one, where the limits are zero: then we want to know what the controller says to it.
    blocks = max(1, min(at.size // size, limits.mssrl, limits.mcl))
    name = system.block_name(device)
    nvme_copy.copy(name, at.source // size, blocks, at.target // size, limits.pi)
    if at.disk.read(at.target, blocks * size) != at.pattern.blocks(0, 1)[: blocks * size]:
        raise Lies("success reported, and the content is not the source's")
    return f"{blocks * size} bytes, compared"


def _discard(at, device):
    import ioctls

    most = system.queue(device, "discard_max_bytes")
    ioctls.discard(at.disk.fd, at.target, at.size)
    zeroes = not any(at.disk.read(at.target, at.size))
    return f"{'zeroes' if zeroes else 'anything'} read after it; discard_max_bytes {most}"


def _zero_out(at, device):
    import ioctls

    ioctls.zero_out(at.disk.fd, at.target, at.size)
    if any(at.disk.read(at.target, at.size)):
        raise Lies("BLKZEROOUT reported success, and not all is zero")
    most = system.queue(device, "write_zeroes_max_bytes", "0")
    if most == "0":
        raise Lacks("write_zeroes_max_bytes 0: the kernel writes the zeroes")
    return f"write_zeroes_max_bytes {most}"


def is_scsi(name):
    """Whether a block device is a whole SCSI disk."""
    return name.startswith("sd") and not os.path.exists(f"{system.BLOCK}/{name}/partition")


def _extended_copy(at, device):
    import xcopy

    size = block_size(device)
    xcopy.copy(device, device, at.source // size, at.target // size, at.size // size)
    if not at.copied():
        raise Lies("success reported, and the content is not the source's")
    return f"{at.size} bytes, compared"


def directory(mount, kind, why_not=""):
    """Capabilities of a file system of that type; `why_not` as for a block device."""
    import probe_files

    return probe_files.directory(mount, kind, why_not)
