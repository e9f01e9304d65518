# SPDX-License-Identifier: GPL-2.0-or-later
"""Is a disk of the host really the one that was meant, and free?  Everything on it will be lost.

Every function takes the root of the file system, so that tests can show it another host.  What is
looked at: sysfs (Documentation/ABI/{stable,testing}/sysfs-block*), /proc/*/mountinfo, /proc/swaps
and udev's database.  Opening with O_EXCL comes last: the kernel then refuses what anybody claims.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from lab.errors import HostError
from lab.profile.hostdev import HostBlock

HOST = Path("/")
_LOOK = "look with: lsblk -o NAME,SIZE,SERIAL,MOUNTPOINTS"


def check_block(device: HostBlock, root: Path = HOST) -> None:
    """Raise HostError, with every reason, unless the disk is the one meant and nobody uses it."""
    try:
        found = Path(device.path).stat()
    except OSError as error:
        raise HostError(f"{device.path}: {error.strerror}", hint=_LOOK) from error
    if not stat.S_ISBLK(found.st_mode):
        raise HostError(f"{device.path}: not a block device", hint=_LOOK)
    number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    reasons = [*refusals(device, number, root)]
    if not reasons:
        reasons = [*_claimed(device.path)]
    if reasons:
        raise HostError(
            f"{device.path} is not given to the guest, which would destroy what is on it",
            detail="\n".join(reasons),
            hint=_LOOK,
        )


def refusals(device: HostBlock, number: str, root: Path) -> Iterator[str]:
    """Every reason not to use the block device with `number` (major:minor)."""
    disk = (root / "sys/dev/block" / number).resolve()
    if (disk / "partition").exists():
        yield f"it is a partition; expected the whole disk, {disk.parent.name}"
        return
    reported = serials(disk, number, root)
    if device.serial not in reported:
        says = " and ".join(sorted(reported)) or "none"
        yield f"the profile says serial {device.serial}, the host says {says}"
    block_size = read(disk / "queue/logical_block_size")
    if block_size != str(device.block_size):
        yield f"the profile says blocks of {device.block_size} bytes, the host {block_size or '?'}"
    if read(disk / "ro") != "0":
        yield "it is read-only"
    yield from uses(disk, root)


def serials(disk: Path, number: str, root: Path) -> set[str]:
    """What the host calls the serial of a disk: the driver's word, and udev's."""
    known = {read(disk / "serial"), read(disk / "device/serial")}
    # SCSI: Vital Product Data page 80h, four bytes and then the serial (SPC-4, 7.8.15).
    known.add(read(disk / "device/vpd_pg80")[4:].strip())
    for line in read(root / "run/udev/data" / f"b{number}").splitlines():
        if line.startswith(("E:ID_SERIAL_SHORT=", "E:ID_SCSI_SERIAL=")):
            known.add(line.partition("=")[2].strip())
    return known - {""}


def uses(disk: Path, root: Path) -> Iterator[str]:
    """Who uses a disk (its directory in sysfs) or a partition of it: one sentence for each."""
    parts = [disk, *sorted(path.parent for path in disk.glob("*/partition"))]
    mounts = [*_mounts(root)]
    swaps = [line.split()[0] for line in read(root / "proc/swaps").splitlines()[1:]]
    for part in parts:
        number, node = read(part / "dev"), f"/dev/{part.name}"
        for where, source_number, source in mounts:
            if number == source_number or _same(source, node):
                yield f"{node} is mounted on {where}"
        for holder in sorted((part / "holders").glob("*")):
            name = read(holder / "dm/name") or holder.name
            yield f"{node} is held by {holder.name} ({name}): device mapper, RAID or bcache"
        if any(_same(swap, node) for swap in swaps):
            yield f"{node} is swap space"


def read(path: Path) -> str:
    """A small file without blanks around it; empty if it cannot be read."""
    try:
        return path.read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""


def _mounts(root: Path) -> Iterator[tuple[str, str, str]]:
    """Mount point, device number and source of every mount here and in init's namespace.

    File systems of several devices, such as btrfs, have a number that is no device's.
    """
    lines = {
        line
        for name in ("self", "1")
        for line in read(root / "proc" / name / "mountinfo").splitlines()
    }
    for line in sorted(lines):
        # proc_pid_mountinfo(5): id parent major:minor root point options [tag...] - type source
        before, _, after = line.partition(" - ")
        words, behind = before.split(), after.split()
        if len(words) > 4 and len(behind) > 1:
            yield _unescaped(words[4]), words[2], _unescaped(behind[1])


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _same(source: str, node: str) -> bool:
    """Whether a path leads to a device node, such as /dev/disk/by-uuid/..."""
    return source.startswith("/dev/") and node in (source, os.path.realpath(source))


def _claimed(path: str) -> Iterator[str]:
    try:
        # On a block device O_EXCL needs no O_CREAT and means: only if nobody has claimed it.
        os.close(os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        cure = ": add yourself to its group, or run as root" if error.errno == 13 else ""
        yield f"it cannot be opened for this guest alone: {error.strerror}{cure}"
