# SPDX-License-Identifier: GPL-2.0-or-later
"""The faults that are made while a suite runs, as a file tells them:

- layer: flakey       # of the profile, a dm-flakey or dm-linear
  action: dm-error    # or dm-delay, dm-drop-writes, dm-corrupt
  every: 20s          # again and again, while a case runs
  for: 2s             # the last 2 of these 20 seconds
- disk: LABNVME0      # SERIAL or SERIAL:NSID
  at: write:100       # once in each case: its 100th write to this disk, or read:K
  error: eio
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    model_validator,
)

from lab import yamlfile
from lab.errors import LabError, ProfileError
from lab.faults import choice, tables
from lab.faults.model import Point, Stage
from lab.profile.layers.faulty import DmFlakey
from lab.profile.layers.mapping import DmLinear
from lab.profile.models import Profile
from lab.profile.units import Duration, format_duration
from lab.vm.disks import find_disks

MAX_K = 4096
"""Each request that is let through is a rule of blkdebug, which looks at all of them each time."""

_LEAST = 0.5
"""Seconds that a window lasts, and that lie between two: dmsetup takes tenths of them under TCG."""


def _action(value: object) -> str:
    if not isinstance(value, str) or value not in tables.ACTIONS:
        raise ValueError(f"{value}; expected one of {', '.join(tables.ACTIONS)}")
    return str(value)


def _point(value: object) -> Point:
    try:
        point = Point.parse(str(value))
    except LabError as error:
        raise ValueError(error.hint) from error
    if point.stage not in (Stage.READ, Stage.WRITE) or point.k > MAX_K:
        raise ValueError(f"{value}; expected read:K or write:K, with K up to {MAX_K}")
    return point


def _error(value: object) -> int:
    try:
        number = choice.parse(str(value))
    except LabError as error:
        raise ValueError(error.hint) from error
    if not number:
        raise ValueError("none is no fault")
    return number


class _FaultPlanModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Window(_FaultPlanModel):
    """A layer that is another for a while, again and again.  Seconds."""

    layer: str
    action: Annotated[str, BeforeValidator(_action)]
    every: Duration
    length: Duration = Field(alias="for")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if min(self.length, self.every - self.length) < _LEAST:
            raise ValueError(f"`for` and what of `every` is left must each be at least {_LEAST} s")
        return self

    @property
    def lies(self) -> bool:
        """Whether the layer reports writes that it did not make, or made otherwise."""
        return self.action in tables.LIES

    def __str__(self) -> str:
        return (
            f"{self.action} of {self.layer} for {format_duration(self.length)} "
            f"every {format_duration(self.every)}"
        )


class FailedRequest(_FaultPlanModel):
    """One request of a disk that fails, in each case; `error` is an errno."""

    disk: str
    at: Annotated[Point, BeforeValidator(_point)]
    error: Annotated[int, BeforeValidator(_error)]

    def __str__(self) -> str:
        return f"{choice.name(self.error)} at {self.at} of {self.disk}"


@dataclass(frozen=True)
class FaultPlan:
    """All faults that are made."""

    windows: tuple[Window, ...] = ()
    requests: tuple[FailedRequest, ...] = ()

    def __iter__(self) -> Iterator[Window | FailedRequest]:
        yield from self.windows
        yield from self.requests

    def check(self, profile: Profile) -> None:
        """Raise ProfileError for a layer or a disk that the profile does not have."""
        fit = [each.name for each in profile.layers if isinstance(each, DmFlakey | DmLinear)]
        for window in self.windows:
            if window.layer not in fit:
                raise ProfileError(
                    f"faults: profile {profile.name}, as it is booted, has no dm-flakey or "
                    f"dm-linear called {window.layer}",
                    hint=f"there are: {', '.join(fit) or 'none; see docs/profile-keys.md'}",
                )
        there = find_disks(profile)
        for request in self.requests:
            if request.disk not in there:
                raise ProfileError(
                    f"faults: profile {profile.name} has no emulated disk {request.disk}",
                    hint=f"there are: {', '.join(there) or 'none'}",
                )


def _kind(entry: object) -> str:
    return "<window>" if isinstance(entry, dict) and "layer" in entry else "<request>"


_Fault = Annotated[
    Annotated[Window, Tag("<window>")] | Annotated[FailedRequest, Tag("<request>")],
    Discriminator(_kind),
]
_READER = TypeAdapter(Annotated[list[_Fault], Field(min_length=1)])


def load(path: Path) -> FaultPlan:
    """Read a file.  Raises ProfileError that names it, and the line and the key that is wrong."""
    faults = yamlfile.read(path, _READER, hint="see docs/suites.md")
    windows = tuple(fault for fault in faults if isinstance(fault, Window))
    requests = tuple(fault for fault in faults if isinstance(fault, FailedRequest))
    _once(path, [window.layer for window in windows])
    _once(path, [request.disk for request in requests])
    return FaultPlan(windows, requests)


def _once(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ProfileError(f"{path}: {name} has more than one fault", hint="one for each")
