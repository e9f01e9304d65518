# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems: made where there is none yet, then mounted."""

import fcntl
import glob
import os
import struct
import uuid
import zlib

import properties
import system
from layer import Layer, Made, device_below

# fs/xfs/libxfs/xfs_fs.h: _IOR('X', 126, struct xfs_fsop_geom), whose flags are at byte 92
XFS_IOC_FSGEOMETRY, XFS_GEOMETRY_SIZE, XFS_FLAGS_AT = 0x8100587E, 256, 92
XFS_FLAG_REFLINK = 1 << 20

DEFAULT_BLOCK = 4096
"""Bytes of a block that mkfs makes of its own accord, at most."""

MADE = "what is on the medium was made otherwise; start from an empty one"

ZONED_XFS = (
    "zoned XFS is known to Linux from 6.15 on and to xfsprogs from 6.14 on; `image: sid` and "
    "`kernel: debian-sid` have both"
)
"""What to do where mkfs or mount refuses."""


class FileSystem(Layer):
    """A file system of the type that the profile names."""

    module = ""
    """Kernel module, if it has another name than the type."""

    @property
    def type(self):
        """As mkfs and mount name it."""
        return self.spec["type"]

    @property
    def mount_point(self):
        """Where it is mounted."""
        return self.spec.get("mount") or f"/mnt/{self.name}"

    def up(self):
        if system.is_mounted(self.mount_point):
            return Made(mount=self.mount_point)
        device = device_below(self.uses()[0])
        system.modprobe(self.module or self.type)
        found = system.signature(device)
        if found not in ("", self.type):
            raise system.Failure(device, f"has {found} on it; expected nothing, or {self.type}")
        if not found:
            self.make(device)
        os.makedirs(self.mount_point, exist_ok=True)
        options = [*self.forced_options(), *self.spec["options"]]
        with_options = ["-o", ",".join(options)] if options else []
        self.mount(["mount", "-t", self.type, *with_options, device, self.mount_point])
        return Made(mount=self.mount_point)

    def mount(self, argv):
        """Run mount."""
        system.run(argv)

    def make(self, device):
        """Run mkfs."""
        program = f"mkfs.{self.type}"
        devices = [device, *self.other_devices()]
        system.run([program, *self.mkfs_arguments(device), *self.spec["mkfs"], *devices], 120)

    def other_devices(self):
        """The devices that mkfs is given behind the first."""
        return []

    def mkfs_arguments(self, device):
        """Arguments that the profile's keys stand for."""
        return []

    def large(self, device, *words):
        """The arguments for a disk of larger blocks than a file system has by default, with the
        size for {}; none where the profile says it, or the disk's blocks are small."""
        size = int(system.queue(device, "logical_block_size"))
        if size <= DEFAULT_BLOCK or any(word.startswith(words[0]) for word in self.spec["mkfs"]):
            return []
        return [word.format(size) for word in words]

    def forced_options(self):
        """Mount options that the profile's keys stand for."""
        return []

    def down(self):
        if system.is_mounted(self.mount_point):
            system.run(["umount", self.mount_point])


class Ext4(FileSystem):
    """ext4."""

    def mkfs_arguments(self, device):
        # Inode tables are written now: a background thread would write under the tests.
        # -F: otherwise it asks whether blocks larger than a page are meant.
        large = self.large(device, "-b", "{}", "-F")
        return ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", *large]


class Xfs(FileSystem):
    """XFS, with or without reflinks; the realtime section and the log may be elsewhere."""

    def uses(self):
        return [self.spec["over"], *filter(None, [self.spec["rt"], self.spec["log"]])]

    def make(self, device):
        try:
            super().make(device)
        except system.Failure as problem:
            raise system.Failure(problem.tried, refusal(problem.said), problem.error) from None

    def mount(self, argv):
        try:
            super().mount(argv)
        except system.Failure as problem:
            if not self._zoned(device_below(self.spec["over"])):
                raise
            said = f"{problem.said}; {ZONED_XFS}"
            raise system.Failure(problem.tried, said, problem.error) from None

    def _zoned(self, device):
        """Whether the realtime section is on zones."""
        return system.is_zoned(device_below(self.spec["rt"]) if self.spec["rt"] else device)

    def _shares(self, device):
        """Whether files may share blocks: as the profile says, or else wherever XFS can."""
        asked = self.spec["reflink"]
        return not (self._zoned(device) or self.spec["rt"]) if asked is None else asked

    def mkfs_arguments(self, device):
        zoned = self._zoned(device)
        yield from ("-q", "-m", f"reflink={int(self._shares(device))}")
        if self.spec["rt"]:
            yield from ("-r", f"rtdev={device_below(self.spec['rt'])}")
        if zoned:
            # Else an mkfs.xfs that does not know it makes what no kernel mounts.
            yield from ("-r", "zoned=1")
        elif self.spec["rt"]:
            # Or files would stay on the data device unless told otherwise one by one.
            yield from ("-d", "rtinherit=1")
        if self.spec["log"]:
            yield from ("-l", f"logdev={device_below(self.spec['log'])}")
        yield from self.large(device, "-b", "size={}")

    def asked(self, made):
        shares = self._shares(device_below(self.spec["over"]))
        made_so = bool(xfs_flags(made.mount) & XFS_FLAG_REFLINK)
        yield properties.Asked("reflink", shares, made_so, "XFS_IOC_FSGEOMETRY", MADE)

    def forced_options(self):
        places = (("rtdev", self.spec["rt"]), ("logdev", self.spec["log"]))
        return [f"{option}={device_below(ref)}" for option, ref in places if ref]


def refusal(said):
    """What mkfs.xfs said, without the page that tells how it is used."""
    words = said.partition("\nUsage:")[0]
    return f"{words}; {ZONED_XFS}" if "unknown option -r zoned" in words else words


class Btrfs(FileSystem):
    """btrfs, in zoned mode over zoned devices."""

    def uses(self):
        return self.spec["over"]

    def mount(self, argv):
        # The kernel mounts only what it was told of, which udev does for what is new: not for
        # what was made a moment ago, or was there before the module.
        if len(self.uses()) > 1:
            system.run(["btrfs", "device", "scan", *map(device_below, self.uses())])
        super().mount(argv)

    def other_devices(self):
        return [device_below(ref) for ref in self.uses()[1:]]

    def mkfs_arguments(self, device):
        zoned = system.is_zoned(device)
        yield "-q"
        if zoned:
            yield from ("-O", "zoned")
        for option, key in (("-d", "data"), ("-m", "metadata")):
            # One copy of the metadata: with two, a zoned device needs twice the zones.
            copies = self.spec[key] or ("single" if zoned else None)
            if copies:
                yield from (option, copies)
        yield from self.large(device, "-s", "{}")

    def asked(self, made):
        device = device_below(self.uses()[0])
        name = system.block_name(device)
        (found,) = glob.glob(f"/sys/fs/btrfs/*/devices/{name}")
        feature = f"{found.removesuffix(f'/devices/{name}')}/features/zoned"
        is_so = os.path.exists(feature)
        yield properties.Asked("zoned", system.is_zoned(device), is_so, feature)


class F2fs(FileSystem):
    """F2FS, in zoned mode where a zoned device takes part."""

    def uses(self):
        return [self.spec["over"], *filter(None, [self.spec["zoned"]])]

    def make(self, device):
        try:
            super().make(device)
        except system.Failure as problem:
            # It reports what it does and what is wrong with it on stdout; with -q, neither.
            errors = [line.strip() for line in problem.said.splitlines() if "Error" in line]
            said = "; ".join(errors) or problem.said
            raise system.Failure(problem.tried, said, problem.error) from None

    def mkfs_arguments(self, device):
        if self.spec["zoned"]:
            return ["-m", "-c", device_below(self.spec["zoned"])]
        return ["-m"] if system.is_zoned(device) else []

    def asked(self, made):
        device = device_below(self.spec["over"])
        zoned = bool(self.spec["zoned"]) or system.is_zoned(device)
        features = f"/sys/fs/f2fs/{system.block_name(device)}/features"
        yield properties.Asked("zoned", zoned, "blkzoned" in system.read(features), features)


class Zonefs(FileSystem):
    """zonefs, whose tool Debian does not have: the superblock is all there is to make."""

    def make(self, device):
        zones = system.run(["blkzone", "report", "-c", "1", device])
        if "type: 2" in zones or "SEQ_WRITE_REQUIRED" in zones:
            system.run(["blkzone", "reset", device])
        write_direct(device, zonefs_super(uuid.uuid4().bytes))


def xfs_flags(mount):
    """The flags of a mounted XFS.  Raises Failure."""
    geometry = bytearray(XFS_GEOMETRY_SIZE)
    fd = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, XFS_IOC_FSGEOMETRY, geometry)
    except OSError as problem:
        raise system.failure(f"XFS_IOC_FSGEOMETRY of {mount}", problem) from None
    finally:
        os.close(fd)
    return struct.unpack_from("<I", geometry, XFS_FLAGS_AT)[0]


def zonefs_super(identifier):
    """The superblock of zonefs: 4096 bytes (fs/zonefs/zonefs.h, struct zonefs_super).

    Magic, CRC, label, UUID, features, uid, gid, permissions.  The checksum is the kernel's
    crc32_le with seed ~0 and no final inversion, over the block with the CRC field zero.
    """
    body = struct.pack("<II64s16sQIII", 0x5A4F4653, 0, b"", identifier, 0, 0, 0, 0)
    block = bytearray(body.ljust(4096, b"\0"))
    struct.pack_into("<I", block, 4, zlib.crc32(block) ^ 0xFFFFFFFF)
    return bytes(block)


def write_direct(device, block):
    """Write a page-aligned block at the start of a device, past the page cache (as zones need)."""
    import mmap

    with mmap.mmap(-1, len(block)) as memory:
        memory[:] = block
        fd = os.open(device, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            os.pwrite(fd, memory, 0)
            os.fsync(fd)
        except OSError as problem:
            raise system.failure(f"write to {device}", problem) from None
        finally:
            os.close(fd)
