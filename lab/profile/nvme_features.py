# SPDX-License-Identifier: GPL-2.0-or-later
"""What NVMe controllers and namespaces can do, each as a small model of its own."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from lab.problem import shown
from lab.profile.base import Conflict, ProfileModel
from lab.profile.fields import Span
from lab.profile.units import Size, format_size


class CopyLimits(ProfileModel):
    """Limits of the Copy command, as the namespace reports them."""

    mssrl: Annotated[int, Span(0, 2**16 - 1, "blocks per source range")] = Field(
        128,
        description="Maximum Single Source Range Length: blocks in one source range; 0 lets none "
        "fit",
    )
    mcl: Annotated[int, Span(0, 2**32 - 1, "blocks per copy")] = Field(
        128, description="Maximum Copy Length: blocks in one Copy command; at least mssrl"
    )
    msrc: Annotated[
        int,
        Span(
            1,
            256,
            "source ranges, counted plainly (NVMe's own field is zero-based: 0 in `nvme id-ns` is "
            "1 here; a namespace that shows 0 for mssrl and mcl too is `copy: none`)",
        ),
    ] = Field(
        128,
        description="Maximum Source Range Count: source ranges in one Copy command, as a plain "
        "number (NVMe's own field is zero-based, the lab converts: 0 in `nvme id-ns` is 1 here)",
    )

    @property
    def none(self) -> bool:
        """Whether no copy at all fits."""
        return 0 in (self.mssrl, self.mcl)

    def conflicts(self) -> Iterator[Conflict]:
        # NVM Command Set, Identify Namespace: MCL shall be greater than or equal to MSSRL.
        if self.mcl < self.mssrl:
            yield ("mcl",), f"{self.mcl} is less than mssrl; expected at least {self.mssrl} blocks"


NO_COPY = "none"

_NOTHING_FITS = {"mssrl": 0, "mcl": 0, "msrc": 1}
"""0, 0 and 0 in Identify Namespace, as QEMU has it for `-device nvme,drive=…`."""


def copy_or_none(value: object) -> object:
    """The limits that a word stands for, as a profile has them; anything else as it is.  Raises
    ValueError at another word."""
    if value == NO_COPY:
        return _NOTHING_FITS
    if isinstance(value, str):
        keys = ", ".join(CopyLimits.model_fields)
        raise ValueError(
            f"{shown(value)} does not fit; expected {NO_COPY}, or a mapping with {keys}"
        )
    return value


CopyOrNone = Annotated[
    CopyLimits,
    BeforeValidator(copy_or_none, json_schema_input_type=CopyLimits | Literal["none"]),
]
"""Limits of the Copy command, or the word for a namespace on which none fits."""


class Zrwa(ProfileModel):
    """Zone Random Write Area: a window before the write pointer that takes writes in any order.

    NVMe Zoned Namespace Command Set 1.1, Zone Random Write Area.
    """

    size: Size = Field(description="Bytes of a zone's window, such as 64K; at most zone_capacity")
    flush_granularity: Size = Field(description="Bytes that one flush commits; divides size")
    resources: Annotated[int, Span(1, 2**32 - 1, "zones")] = Field(
        description="Most zones that have a window at once; at most max_active"
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.size % self.flush_granularity:
            yield (
                ("flush_granularity",),
                f"{format_size(self.flush_granularity)} does not divide the window; "
                f"expected a divisor of size, {format_size(self.size)}",
            )


class ZoneSettings(ProfileModel):
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
    zrwa: Zrwa | None = Field(None, description="Zone Random Write Area")

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
        if self.zrwa and self.zrwa.size > self.capacity:
            yield (
                ("zrwa", "size"),
                f"{format_size(self.zrwa.size)} is more than a zone holds; "
                f"expected at most {format_size(self.capacity)}",
            )
        if self.zrwa and self.max_active and self.zrwa.resources > self.max_active:
            yield (
                ("zrwa", "resources"),
                f"{self.zrwa.resources} is more than max_active; "
                f"expected at most {self.max_active}",
            )


class Fdp(ProfileModel):
    """Flexible Data Placement of a subsystem with one endurance group (NVMe Base 2.1, 8.1.10)."""

    reclaim_unit: Size = Field(
        16 * 2**20, description="Bytes of a reclaim unit", json_schema_extra={"default": "16M"}
    )
    reclaim_groups: Annotated[int, Span(1, 2**15, "reclaim groups")] = Field(
        1, description="Number of reclaim groups"
    )
    handles: Annotated[int, Span(1, 128, "reclaim unit handles")] = Field(
        description="Number of reclaim unit handles; every namespace can use all of them"
    )


class Atomic(ProfileModel):
    """Sizes of writes that are never torn, as the controller reports them."""

    awun: Annotated[int, Span(1, 2**16, "blocks")] = Field(
        1,
        description="Atomic Write Unit Normal: blocks of a write that other commands never see "
        "half-done, as a plain number (NVMe's own field is zero-based; the lab converts)",
    )
    awupf: Annotated[int, Span(1, 2**16, "blocks")] = Field(
        1,
        description="Atomic Write Unit Power Fail: blocks of a write that a loss of power never "
        "tears; at most awun",
    )
    dn: bool = Field(
        False, description="Disable Normal: the device only promises awupf (feature 0Ah)"
    )

    def conflicts(self) -> Iterator[Conflict]:
        # NVMe Base, Identify Controller: AWUPF shall be less than or equal to AWUN.
        if self.awupf > self.awun:
            yield ("awupf",), f"{self.awupf} is more than awun; expected at most {self.awun} blocks"
