# SPDX-License-Identifier: GPL-2.0-or-later
"""NVMe as a profile describes it: controllers and their namespaces."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lab.problem import KeyPath
from lab.profile.base import Conflict, ProfileModel
from lab.profile.device import BlockSize, Medium, Required, Scheduler, Serial
from lab.profile.fields import Span
from lab.profile.nvme_features import Atomic, CopyLimits, CopyOrNone, Fdp, ZoneSettings
from lab.profile.units import Size, format_size

_BY_POSITION = 0
"""Namespace id that stands for "not given" until the controller numbers its namespaces."""

MAX_NAMESPACES = 256
"""Most namespaces that QEMU gives a controller."""

_PI_BYTES = {16: 8, 64: 16}
"""Bytes of a protection information tuple, by the bits of its guard (NVM Command Set 1.1, 5.3)."""


class NvmeNamespace(ProfileModel):
    """One namespace: a range of logical blocks that the guest sees as a disk."""

    # A factory keeps the stand-in for "not given" out of the JSON schema.
    nsid: Annotated[int, Span(1, MAX_NAMESPACES, "as namespace id")] = Field(
        default_factory=lambda: _BY_POSITION,
        description="Namespace id; default: the position in the list, from 1",
    )
    size: Size = Field(
        description="Bytes that the guest sees, such as 256M; a multiple of block_size. Metadata "
        "is not counted"
    )
    block_size: BlockSize = 512
    # `copy` is a method of every pydantic model, so the attribute needs another name.
    copy_limits: CopyOrNone = Field(
        CopyLimits(),
        alias="copy",
        description="Limits of the Copy command, as the namespace reports them; none: a namespace "
        "that no Copy fits",
    )
    metadata: Annotated[int, Span(0, 2**12, "bytes of metadata per block")] = Field(
        0, description="Bytes of metadata that go with each block, such as 8"
    )
    extended: bool = Field(
        False,
        description="Metadata at the end of each block instead of in a buffer of its own. Linux "
        "shows such a namespace on PCI as a disk of size 0; passthrough commands work",
    )
    pi: Annotated[int, Span(0, 3, "as type of protection information (0: none)")] = Field(
        0, description="Type of protection information in the metadata; 0 means none"
    )
    pi_first: bool = Field(
        False,
        description="Protection information in the first bytes of the metadata, not in the last",
    )
    guard: Literal[16, 64] = Field(
        16, description="Bits of the protection information's guard; 64 needs 16 bytes of metadata"
    )
    write_cache: bool = Field(
        True,
        description="Volatile write cache; false: a write is durable when it completes. QEMU says "
        "so in feature 06h only, false if no namespace has one; Identify Controller, which Linux "
        "goes by, always has one, so that it flushes all the same",
    )
    zoned: ZoneSettings | None = Field(
        None, description="Makes the namespace zoned: zones are written in order only"
    )
    scheduler: Scheduler = None
    medium: Medium = None

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
            if zrwa := self.zoned.zrwa:
                in_blocks.append((("zoned", "zrwa", "size"), zrwa.size))
                in_blocks.append((("zoned", "zrwa", "flush_granularity"), zrwa.flush_granularity))
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
        yield from self._metadata_conflicts()

    def _metadata_conflicts(self) -> Iterator[Conflict]:
        least = _PI_BYTES[self.guard]
        if self.pi and self.metadata < least:
            yield (
                ("metadata",),
                f"{self.metadata} bytes hold no protection information with a guard of "
                f"{self.guard} bits; expected at least {least}",
            )
        if self.extended and not self.metadata:
            yield ("extended",), "there is no metadata; expected metadata with it, such as 8"
        if not self.pi:
            for key, given in (("pi_first", self.pi_first), ("guard", self.guard != 16)):
                if given:
                    yield (key,), "there is no protection information; expected pi: 1, 2 or 3 too"


def _numbered(namespaces: tuple[NvmeNamespace, ...]) -> tuple[NvmeNamespace, ...]:
    """Give each namespace that has no id its position as id."""
    return tuple(
        namespace.model_copy(update={"nsid": position})
        if namespace.nsid == _BY_POSITION
        else namespace
        for position, namespace in enumerate(namespaces, start=1)
    )


class NvmeController(ProfileModel):
    """One NVMe controller, or several that share their namespaces in one subsystem."""

    type: Literal["nvme"] = Field(
        description="NVMe: controllers with their namespaces, one NVM subsystem"
    )
    serial: Serial
    required: Required = True
    controllers: Annotated[int, Span(1, 8, "controllers")] = Field(
        1,
        description="Number of controllers. More than one form an NVM subsystem with one serial "
        "and share all namespaces, so that the guest sees each on several paths (multipath)",
    )
    # Later versions of QEMU refuse more than 9 (2 MiB), because the request would not fit IOV_MAX.
    mdts: Annotated[int, Span(0, 9, "as a power of two (0: no limit)")] = Field(
        7,
        description="Maximum Data Transfer Size of one command, as a power of two of 4 KiB: 7 is "
        "512 KiB; 0 means no limit",
    )
    fdp: Fdp | None = Field(None, description="Flexible Data Placement, if QEMU has it")
    atomic: Atomic | None = Field(None, description="Atomic writes, if QEMU has them")
    namespaces: Annotated[
        tuple[NvmeNamespace, ...],
        Field(min_length=1, max_length=MAX_NAMESPACES),
        AfterValidator(_numbered),
    ] = Field(description="The namespaces, at least one")

    @property
    def subsystem(self) -> bool:
        """Whether it needs an NVM subsystem of its own around it."""
        return self.controllers > 1 or self.fdp is not None

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
            if self.fdp and namespace.zoned:
                yield (
                    ("namespaces", index, "zoned"),
                    "zones and fdp do not go together; expected one of them",
                )
            # QEMU hw/nvme/ns.c, nvme_ns_init_fdp: all use the same reclaim unit handles, and each
            # of these has one LBA format.
            for key in ("block_size", "metadata"):
                mine, others = getattr(namespace, key), getattr(self.namespaces[0], key)
                if self.fdp and mine != others:
                    yield (
                        ("namespaces", index, key),
                        f"{mine} differs from namespaces[0]; expected {others}, for with fdp all "
                        "have the same format",
                    )
