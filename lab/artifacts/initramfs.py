# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs: what takes a kernel to the root, and the archives that carry it.

The kernel unpacks concatenated cpio archives one after the other, so the small archive of a
guest (its keys, hostname, scripts; see `archive`) is appended to the shared one, uncompressed:
unpacking zstd under emulation costs more than reading.
"""

import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.artifacts.cmdline import module_name

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_ROUND = 4
_NODE = re.compile(r"[^#\s]\S* (?P<path>\S+) (?P<kind>[bc])(?P<major>\d+):(?P<minor>\d+)")

ROOT_MODULES = ("virtio_blk", "erofs")
"""What init-early needs to see the root."""

LATER_MODULES = ("overlay", "virtio_net", "nvme")
"""What it loads meanwhile on another CPU: loading costs 20 to 40 ms each under emulation, most of
it for checking the signature."""

OPTIONAL_LATER_MODULES = ("virtio_console",)
"""The port of the guest's agent; a kernel without it is reached by SSH alone."""

OPTIONAL_ROOT_MODULES = ("crc32c_intel", "crc32c_generic")
"""crc32c for erofs: libcrc32c asks for it by alias, and there is no modprobe yet.  Kernels from
6.14 have it built in."""


def module_lists() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Needed and optional modules of each list that init-early loads."""
    return {
        "root": (ROOT_MODULES, OPTIONAL_ROOT_MODULES),
        "later": (LATER_MODULES, OPTIONAL_LATER_MODULES),
    }


@dataclass(frozen=True)
class ArchiveEntry:
    """One file of an archive: its content (a symlink's target), its mode with type bits, and major
    and minor number of a device node."""

    data: bytes
    mode: int
    device: tuple[int, int] = (0, 0)

    @classmethod
    def file(cls, data: bytes, permissions: int = 0o644) -> Self:
        """A regular file."""
        return cls(data, stat.S_IFREG | permissions)

    @classmethod
    def directory(cls, permissions: int = 0o755) -> Self:
        """A directory."""
        return cls(b"", stat.S_IFDIR | permissions)

    @classmethod
    def symlink(cls, target: str) -> Self:
        """A symbolic link."""
        return cls(target.encode(), stat.S_IFLNK | 0o777)

    @classmethod
    def node(cls, kind: str, major: int, minor: int, permissions: int = 0o600) -> Self:
        """A device node; `kind` is `c` for a character device, `b` for a block device."""
        types = {"c": stat.S_IFCHR, "b": stat.S_IFBLK}
        return cls(b"", types[kind] | permissions, (major, minor))


def archive(files: Mapping[str, ArchiveEntry]) -> bytes:
    """A cpio archive in the newc format of `files`, whose keys are paths without leading slash.

    Missing parent directories are added.  Everything belongs to root, with the time 0.  Archives
    can be concatenated.  Format: Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    out = bytearray()
    for inode, (path, entry) in enumerate(_with_parents(files).items(), start=1):
        _append(out, inode, path, entry)
    _append(out, 0, _TRAILER, ArchiveEntry(b"", 0))
    return bytes(out)


def _with_parents(files: Mapping[str, ArchiveEntry]) -> dict[str, ArchiveEntry]:
    """`files` in an order that names each directory before what is in it."""
    whole = dict(files)
    for path in files:
        for parent in Path(path).parents:
            if str(parent) != ".":
                whole.setdefault(str(parent), ArchiveEntry.directory())
    return dict(sorted(whole.items(), key=lambda item: Path(item[0]).parts))


def _append(out: bytearray, inode: int, path: str, entry: ArchiveEntry) -> None:
    name = path.encode() + b"\0"
    # ino mode uid gid nlink mtime filesize major minor rmajor rminor namesize check
    fields = (inode, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    out += _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    out += bytes(-len(out) % _ROUND)
    out += entry.data
    out += bytes(-len(out) % _ROUND)


def static_nodes(names: str) -> dict[str, ArchiveEntry]:
    """The device nodes that a kernel's modules.devname lists, by their paths below /dev.

    Whoever opens one has its module loaded.  A line is `MODULE PATH TYPE MAJOR:MINOR`, the type and
    the numbers in one word, as depmod writes it (kmod, tools/depmod.c, output_devname).
    """
    found = {}
    for line in names.splitlines():
        if match := _NODE.fullmatch(line):
            numbers = int(match["major"]), int(match["minor"])
            found[match["path"]] = ArchiveEntry.node(match["kind"], *numbers)
    return found


def early(
    busybox: bytes,
    scripts: Mapping[str, bytes],
    modules: Mapping[str, bytes],
    lists: Mapping[str, Sequence[str]],
    nodes: Mapping[str, ArchiveEntry],
) -> bytes:
    """The shared initramfs.

    `scripts` are guest-scripts/init-early and init by name; `modules` maps file names to
    uncompressed modules; `lists` says under `root` and `later` which to load, in order; `nodes` are
    put into /dev, which saves the guest a program for each.
    """
    directories = ("dev", "proc", "run", "sys", "root", "modules", "nodes")
    files = {path: ArchiveEntry.directory() for path in directories}
    files["busybox"] = ArchiveEntry.file(busybox, 0o755)
    files["init"] = ArchiveEntry.file(scripts["init-early"], 0o755)
    files["init-root"] = ArchiveEntry.file(scripts["init"], 0o755)
    for name, data in modules.items():
        files[f"modules/{name}"] = ArchiveEntry.file(data)
    for name, order in lists.items():
        lines = (f"{file} {module_name(file)}\n" for file in order)
        files[f"modules/{name}"] = ArchiveEntry.file("".join(lines).encode())
    for path, node in nodes.items():
        files[f"nodes/{path}"] = node
    return archive(files)
