"""File systems, made once and mounted at every boot."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from lab.profile.base import Conflict
from lab.profile.fields import Text
from lab.profile.layers.base import BaseLayer, Node, Reference, Use

Option = Annotated[str, Text(r"[!-~]+( [!-~]+)*", "printable ASCII")]

MountPoint = Annotated[
    str, Text(r"(/[A-Za-z0-9._-]+)+", "an absolute path of letters, digits, '.', '_' and '-'")
]


class Mounted(BaseLayer):
    """Something mounted in the guest."""

    options: tuple[Option, ...] = Field((), description="Mount options, such as [noatime]")
    mount: MountPoint | None = Field(None, description="Where it is mounted; default: /mnt/NAME")

    @property
    def mount_point(self) -> str:
        """Where it is mounted."""
        return self.mount or f"/mnt/{self.name}"


class FileSystem(Mounted):
    """A file system over one block device that is not zoned."""

    over: Reference = Field(description="The block device that it is made on")
    mkfs: tuple[Option, ...] = Field((), description="Arguments added to mkfs, such as [-b, 4096]")

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "directory", below[0].size)


class Ext4(FileSystem):
    """ext4."""

    type: Literal["ext4"] = Field(description="ext4")


class Xfs(FileSystem):
    """XFS, whose reflinks are what the reference model copies with."""

    type: Literal["xfs"] = Field(description="XFS")
    reflink: bool = Field(True, description="Whether files may share blocks (mkfs.xfs -m reflink)")


class Btrfs(FileSystem):
    """btrfs; zoned over a zoned device."""

    type: Literal["btrfs"] = Field(description="btrfs, in its zoned mode over a zoned device")

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, zoned=None)


class F2fs(FileSystem):
    """F2FS.  It needs blocks it can overwrite: conventional zones, or a device of its own."""

    type: Literal["f2fs"] = Field(description="F2FS, in its zoned mode with a zoned device")
    zoned: Reference | None = Field(
        None, description="A zoned device for the data; `over` holds the metadata then"
    )

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


class Zonefs(FileSystem):
    """zonefs: every zone is a file."""

    type: Literal["zonefs"] = Field(description="zonefs: each zone of a zoned device is a file")

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, zoned=True)

    def conflicts(self) -> Iterator[Conflict]:
        if self.mkfs:
            yield ("mkfs",), "zonefs is made by the lab itself; expected no arguments"


class Nfs(Mounted):
    """An NFS mount from a server in the same guest."""

    type: Literal["nfs"] = Field(description="An NFS mount from a server in the same guest")
    over: Reference = Field(description="The file system that the server exports")
    version: Literal["4.2", "4.1"] = Field("4.2", description="NFS version, as quoted text")

    def uses(self) -> Iterator[Use]:
        # A server that exports its own NFS mount waits for itself.
        yield Use(("over",), self.over, kinds=("directory",), zoned=None, local=True)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "directory", below[0].size, remote=True)
