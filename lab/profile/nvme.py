"""NVMe as a profile describes it: controllers, their namespaces, copy limits and zones."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lab.profile.base import Conflict, Model
from lab.profile.fields import Span, Text
from lab.profile.problem import KeyPath
from lab.profile.units import Size, format_size

_BY_POSITION = 0
"""Namespace id that stands for "not given" until the controller numbers its namespaces."""

MAX_NAMESPACES = 256
"""Most namespaces that QEMU gives a controller."""


class CopyLimits(Model):
    """Limits of the Copy command, as the namespace reports them."""

    mssrl: Annotated[int, Span(1, 2**16 - 1, "blocks per source range")] = Field(
        128, description="Maximum Single Source Range Length: blocks in one source range"
    )
    mcl: Annotated[int, Span(1, 2**32 - 1, "blocks per copy")] = Field(
        128, description="Maximum Copy Length: blocks in one Copy command; at least mssrl"
    )
    msrc: Annotated[int, Span(1, 256, "source ranges")] = Field(
        128,
        description="Maximum Source Range Count: source ranges in one Copy command, as a plain "
        "number (NVMe's own field is zero-based; the lab converts)",
    )

    def conflicts(self) -> Iterator[Conflict]:
        # NVM Command Set, Identify Namespace: MCL shall be greater than or equal to MSSRL.
        if self.mcl < self.mssrl:
            yield ("mcl",), f"{self.mcl} is less than mssrl; expected at least {self.mssrl} blocks"


class Zoned(Model):
    """Zones of a namespace with the Zoned Namespace Command Set."""

    zone_size: Size = Field(
        description="Bytes from the start of one zone to the next, such as 16M; divides the "
        "namespace's size"
    )
    zone_capacity: Size | None = Field(
        None, description="Writable bytes of a zone, at most zone_size; default: all of it"
    )
    max_open: Annotated[int, Span(0, 2**32 - 1, "open zones (0: no limit)")] = Field(
        0, description="Most zones open at once; 0 means no limit"
    )
    max_active: Annotated[int, Span(0, 2**32 - 1, "active zones (0: no limit)")] = Field(
        0, description="Most zones open or closed (neither empty nor full); 0 means no limit"
    )

    @property
    def capacity(self) -> int:
        """Writable bytes of a zone."""
        return self.zone_size if self.zone_capacity is None else self.zone_capacity

    def conflicts(self) -> Iterator[Conflict]:
        if self.capacity > self.zone_size:
            yield (
                ("zone_capacity",),
                f"{format_size(self.capacity)} is more than zone_size; "
                f"expected at most {format_size(self.zone_size)}",
            )
        if self.max_active and self.max_open > self.max_active:
            yield (
                ("max_open",),
                f"{self.max_open} is more than max_active; expected at most {self.max_active}",
            )


class NvmeNamespace(Model):
    """One namespace: a range of logical blocks that the guest sees as a disk."""

    # A factory keeps the stand-in for "not given" out of the JSON schema.
    nsid: Annotated[int, Span(1, MAX_NAMESPACES, "as namespace id")] = Field(
        default_factory=lambda: _BY_POSITION,
        description="Namespace id; default: the position in the list, from 1",
    )
    size: Size = Field(description="Bytes, such as 256M; a multiple of block_size")
    block_size: Literal[512, 4096] = Field(512, description="Bytes in a logical block")
    # `copy` is a method of every pydantic model, so the attribute needs another name.
    copy_limits: CopyLimits = Field(
        CopyLimits(),
        alias="copy",
        description="Limits of the Copy command, as the namespace reports them",
    )
    zoned: Zoned | None = Field(
        None, description="Makes the namespace zoned: zones are written in order only"
    )

    @property
    def blocks(self) -> int:
        """Number of logical blocks."""
        return self.size // self.block_size

    @property
    def zones(self) -> int:
        """Number of zones; 0 if the namespace is not zoned."""
        return self.size // self.zoned.zone_size if self.zoned else 0

    def conflicts(self) -> Iterator[Conflict]:
        in_blocks: list[tuple[KeyPath, int]] = [(("size",), self.size)]
        if self.zoned:
            in_blocks.append((("zoned", "zone_size"), self.zoned.zone_size))
            in_blocks.append((("zoned", "zone_capacity"), self.zoned.capacity))
        for path, value in in_blocks:
            if value % self.block_size:
                yield (
                    path,
                    f"{format_size(value)} is not whole blocks; "
                    f"expected a multiple of block_size, {self.block_size} bytes",
                )
        if self.zoned and self.size % self.zoned.zone_size:
            yield (
                ("zoned", "zone_size"),
                f"{format_size(self.zoned.zone_size)} does not divide the namespace; "
                f"expected a divisor of its size, {format_size(self.size)}",
            )


def _numbered(namespaces: tuple[NvmeNamespace, ...]) -> tuple[NvmeNamespace, ...]:
    """Give each namespace that has no id its position as id."""
    return tuple(
        namespace.model_copy(update={"nsid": position})
        if namespace.nsid == _BY_POSITION
        else namespace
        for position, namespace in enumerate(namespaces, start=1)
    )


class NvmeController(Model):
    """One NVMe controller."""

    type: Literal["nvme"] = Field(description="What kind of device this is")
    serial: Annotated[
        # It also names files of the guest and links of its udev.
        str, Text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}", "1 to 20 letters, digits, '.', '_' and '-'")
    ] = Field(
        description="Serial number, by which the lab and the guest find the device: 1 to 20 "
        "letters, digits, '.', '_' and '-'"
    )
    # Later versions of QEMU refuse more than 9 (2 MiB), because the request would not fit IOV_MAX.
    mdts: Annotated[int, Span(0, 9, "as a power of two (0: no limit)")] = Field(
        7,
        description="Maximum Data Transfer Size of one command, as a power of two of 4 KiB: 7 is "
        "512 KiB; 0 means no limit",
    )
    namespaces: Annotated[
        tuple[NvmeNamespace, ...],
        Field(min_length=1, max_length=MAX_NAMESPACES),
        AfterValidator(_numbered),
    ] = Field(description="The controller's namespaces, at least one")

    def conflicts(self) -> Iterator[Conflict]:
        first: dict[int, int] = {}
        for index, namespace in enumerate(self.namespaces):
            other = first.setdefault(namespace.nsid, index)
            if other != index:
                yield (
                    ("namespaces", index, "nsid"),
                    f"{namespace.nsid} is already the id of namespaces[{other}]; "
                    "expected a different nsid for each (default: the position, from 1)",
                )
