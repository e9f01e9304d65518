# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems, made once and mounted at every boot."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from lab.profile.base import Conflict
from lab.profile.fields import Text
from lab.profile.layers.base import BaseLayer, Node, Reference, References, Use, members

Option = Annotated[str, Text(r"[!-~]+( [!-~]+)*", "printable ASCII")]

MountPoint = Annotated[
    str, Text(r"(/[A-Za-z0-9._-]+)+", "an absolute path of letters, digits, '.', '_' and '-'")
]


class MountLayer(BaseLayer):
    """Something mounted in the guest."""

    options: tuple[Option, ...] = Field((), description="Mount options, such as [noatime]")
    mount: MountPoint | None = Field(None, description="Where it is mounted; default: /mnt/NAME")

    @property
    def mount_point(self) -> str:
        """Where it is mounted."""
        return self.mount or f"/mnt/{self.name}"


class FileSystem(MountLayer):
    """A file system over block devices; the first of them is what mkfs and mount are given."""

    mkfs: tuple[Option, ...] = Field((), description="Arguments added to mkfs, such as [-b, 4096]")

    @property
    def device(self) -> str:
        """The first block device that it is made on."""
        return next(iter(self.uses())).ref

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "directory", below[0].size)


class OnDevice(FileSystem):
    """A file system over one block device that is not zoned."""

    over: Reference = Field(description="The block device that it is made on")

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over)


class Ext4(OnDevice):
    """ext4."""

    guest_class = "filesystems.Ext4"
    type: Literal["ext4"] = Field(description="ext4")


class Xfs(FileSystem):
    """XFS, whose reflinks are what the reference model copies with.

    The realtime section has the data of files.  On zones it is log-structured, and nothing can be
    shared (xfsprogs, mkfs/xfs_mkfs.c: "reflink not supported with zoned devices").
    """

    guest_class = "filesystems.Xfs"
    type: Literal["xfs"] = Field(description="XFS; with its realtime section on zones, zoned XFS")
    over: Reference = Field(
        description="The block device that it is made on; a zoned one needs conventional zones "
        "for the metadata, and has the realtime section behind them"
    )
    rt: Reference | None = Field(
        None,
        description="A device, zoned or not, for the realtime section: the data of files. On a "
        "zoned one it needs Linux 6.15 and the image sid, whose mkfs.xfs knows it",
    )
    log: Reference | None = Field(None, description="A device for the log")
    reflink: bool | None = Field(
        None,
        description="Whether files may share blocks (mkfs.xfs -m reflink); default: true, and "
        "false with a realtime section, which cannot where it is zoned",
    )

    @property
    def shares(self) -> bool:
        """Whether files may share blocks, as far as the profile tells; over a zoned device alone
        it does not."""
        return self.rt is None if self.reflink is None else self.reflink

    @property
    def data_on(self) -> str:
        return self.rt or self.over

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, zoned=False if self.rt else None)
        if self.rt:
            yield Use(("rt",), self.rt, zoned=None)
        if self.log:
            yield Use(("log",), self.log)

    def misfits(self, below: Sequence[Node]) -> Iterator[Conflict]:
        data = below[1] if self.rt else below[0]
        if below[0].zoned and not below[0].conventional:
            yield (
                ("over",),
                f"{below[0].ref} is zoned; expected one without zones, with this one as rt, or one "
                "with conventional zones",
            )
        if data.zoned and self.reflink:
            yield ("reflink",), f"true over {data.ref}, which is zoned; expected false"

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "directory", below[1].size if self.rt else below[0].size)


Copies = Literal[
    "single", "dup", "raid0", "raid1", "raid1c3", "raid1c4", "raid10", "raid5", "raid6"
]

COPIES: dict[str, int] = {
    "raid1": 2,
    "raid1c3": 3,
    "raid1c4": 4,
    "raid10": 2,
    "raid5": 2,
    "raid6": 3,
}
"""Least number of devices (btrfs(5), "PROFILES"); one is enough for what is not here."""


class Btrfs(FileSystem):
    """btrfs over one device or several; zoned over zoned ones."""

    guest_class = "filesystems.Btrfs"
    type: Literal["btrfs"] = Field(description="btrfs, in its zoned mode over zoned devices")
    over: References = Field(description="The block device, or the list of those it is made on")
    data: Copies | None = Field(
        None,
        description="How data lie on the devices (mkfs.btrfs -d); default: that of mkfs.btrfs, "
        "single",
    )
    metadata: Copies | None = Field(
        None,
        description="How metadata lie on the devices (mkfs.btrfs -m); default: that of "
        "mkfs.btrfs, dup, over several devices raid1; single over zoned ones",
    )

    @property
    def redundant(self) -> str:
        several = len(self.over) > 1
        # What mkfs.btrfs does where nothing is said.
        kept = (self.data or "single", self.metadata or ("raid1" if several else ""))
        made = [copies for copies in kept if copies not in ("single", "raid0", "")]
        return f"btrfs, {made[0]}" if made else ""

    def conflicts(self) -> Iterator[Conflict]:
        for key, copies in (("data", self.data), ("metadata", self.metadata)):
            least = COPIES.get(copies or "", 1)
            if len(self.over) < least:
                yield (
                    (key,),
                    f"{copies} over {len(self.over)} of at least {least} devices; expected more "
                    "of them in over, or single or dup",
                )

    def uses(self) -> Iterator[Use]:
        yield from members(self.over, zoned=None)

    def misfits(self, below: Sequence[Node]) -> Iterator[Conflict]:
        # btrfs-progs, mkfs/main.c: all devices of a zoned file system are zoned, or none is.
        for index, node in enumerate(below):
            if node.zoned != below[0].zoned:
                is_zoned = "zoned" if node.zoned else "not zoned"
                yield (
                    ("over", index),
                    f"{node.ref} is {is_zoned}, unlike {below[0].ref}; expected all alike",
                )

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        # What there is room for on several devices depends on the copies that are kept.
        yield Node(self.name, "directory", below[0].size if len(below) == 1 else None)


class F2fs(OnDevice):
    """F2FS.  It needs blocks it can overwrite: conventional zones, or a device of its own."""

    guest_class = "filesystems.F2fs"
    type: Literal["f2fs"] = Field(description="F2FS, in its zoned mode with a zoned device")
    zoned: Reference | None = Field(
        None, description="A zoned device for the data; `over` holds the metadata then"
    )

    @property
    def data_on(self) -> str:
        return self.zoned or self.over

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, zoned=False if self.zoned else None)
        if self.zoned:
            yield Use(("zoned",), self.zoned, zoned=True)

    def misfits(self, below: Sequence[Node]) -> Iterator[Conflict]:
        # f2fs-tools, lib/libf2fs.c, get_device_info: "Different sector sizes!!!"
        if self.zoned and below[0].block_size != below[1].block_size:
            yield (
                ("zoned",),
                f"{self.zoned} has blocks of {below[1].block_size} bytes, {self.over} of "
                f"{below[0].block_size}; expected the same",
            )


class Zonefs(OnDevice):
    """zonefs: every zone is a file."""

    guest_class = "filesystems.Zonefs"
    type: Literal["zonefs"] = Field(description="zonefs: each zone of a zoned device is a file")

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, zoned=True)

    def conflicts(self) -> Iterator[Conflict]:
        if self.mkfs:
            yield ("mkfs",), "zonefs is made by the lab itself; expected no arguments"


class Nfs(MountLayer):
    """An NFS mount from a server in the same guest."""

    guest_class = "nfs.Nfs"
    type: Literal["nfs"] = Field(description="An NFS mount from a server in the same guest")
    over: Reference = Field(description="The file system that the server exports")
    version: Literal["4.2", "4.1"] = Field("4.2", description="NFS version, as quoted text")

    def uses(self) -> Iterator[Use]:
        # A server that exports its own NFS mount waits for itself.
        yield Use(("over",), self.over, kinds=("directory",), zoned=None, local=True)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "directory", below[0].size, remote=True)
