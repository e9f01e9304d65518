# SPDX-License-Identifier: GPL-2.0-or-later
"""Offload paths: every way to ask for a copy, and where a profile has one."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache

from lab import plugins
from lab.copy.paths.base import CopyPath
from lab.copy.paths.bdev import (
    BdevCfr,
    BdevCfrBuffered,
    BdevCfrDirectSource,
    BdevCfrDirectTarget,
    BdevIoctl,
)
from lab.copy.paths.bdevs import BdevCfrAcross, BdevCfrMemory
from lab.copy.paths.blocks import DmKcopyd, ScsiXcopy
from lab.copy.paths.files import CopyrefCopy, FsCfr, FsClone, LoopReflink
from lab.copy.paths.find import full_name
from lab.copy.paths.namespaces import NvmeCrossNs
from lab.copy.paths.nvme import NvmeCopy, NvmetPassthrough
from lab.copy.paths.stacked import BdevCfrStacked
from lab.copy.paths.zns import ZnsCopy
from lab.errors import ProfileError, UsageError
from lab.profile.base import Conflict
from lab.profile.models import Profile

OWN = (
    NvmeCopy, ZnsCopy, LoopReflink, CopyrefCopy, ScsiXcopy, FsClone, FsCfr, NvmeCrossNs,
    NvmetPassthrough, DmKcopyd, BdevCfr, BdevCfrBuffered, BdevCfrDirectSource, BdevCfrDirectTarget,
    BdevCfrAcross, BdevCfrMemory, BdevCfrStacked, BdevIoctl,
)  # fmt: skip
"""The lab's own, in the order in which they are tried on a profile that does not say its own."""

REFERENCE = LoopReflink.name
"""What paths are compared with, unless another of REFERENCES is asked for."""

REFERENCES = {LoopReflink.name: "loop-xfs-reflink", CopyrefCopy.name: "copyref-xfs"}
"""Reference models, each with a profile that has it."""


@cache
def paths() -> Mapping[str, type[CopyPath]]:
    """Every path by its name: the lab's own, and behind them those that packages bring; of those
    that a profile has, the first is its own, unless it says.

    Raises HostError if two have the same name; see lab/plugins.py for those that are broken.
    """
    own: dict[str, type[CopyPath]] = {path.name: path for path in OWN}
    return plugins.classes(
        plugins.PATHS, own, CopyPath, lambda path: path.name, ("does", "needs", "module")
    )


def find(profile: Profile, name: str = "", ref: str = "", *, fua: bool = False) -> CopyPath:
    """The path of that name on the profile, or the profile's own; on the disk or layer `ref`, or
    the profile's own, or the first that suits.  `fua` asks that the copy itself be durable.

    Raises UsageError for a path that does not exist, ProfileError where the profile has none.
    """
    if name and name not in paths():
        raise UsageError(f"no offload path {name}", hint=f"there are: {', '.join(paths())}")
    own = profile.path
    if own and not name and not ref:
        name, ref = own.name, own.layer or ""
    for candidate in _preferred(profile, [name] if name else list(paths()), ref):
        if fua:
            candidate.force_unit_access()
        return candidate
    where = f" on {ref}" if ref else ""
    if name:
        raise ProfileError(
            f"profile {profile.name} has no offload path {name}{where}",
            hint=f"{name} needs {paths()[name].needs}",
        )
    raise ProfileError(
        f"profile {profile.name} has no offload path{where}",
        hint="a copy needs a namespace without layers, a file system over emulated "
        "disks, or tcm-loop over one: see docs/paths.md",
    )


def misfits(profile: Profile) -> Iterator[Conflict]:
    """What is wrong with the path that the profile says is its own."""
    own = profile.path
    if own is None:
        return
    known = ", ".join(paths())
    if own.name not in paths():
        close = get_close_matches(own.name, paths(), n=1)
        question = f"; did you mean {close[0]}?" if close else ";"
        yield ("path", "name"), f"no offload path is called {own.name!r}{question} expected {known}"
    elif not (places := dict.fromkeys(each.ref for each in paths()[own.name].candidates(profile))):
        has = [name for name in paths() if any(True for _ in paths()[name].candidates(profile))]
        instead = f"one of: {', '.join(has)}" if has else "no `path`: there is a place for none"
        yield (
            ("path", "name"),
            f"there is no place for {own.name}, which needs {paths()[own.name].needs}; "
            f"expected {instead}",
        )
    elif own.layer and full_name(profile, own.layer) not in places:
        yield (
            ("path", "layer"),
            f"{own.layer!r} is no place for {own.name}; expected {' or '.join(places)}",
        )


def _preferred(profile: Profile, names: Sequence[str], ref: str) -> list[CopyPath]:
    """The paths of these names, on `ref` if that is given, the profile's own and those on its own
    place first."""
    found = [
        candidate
        for name in names
        for candidate in paths()[name].candidates(profile)
        if not ref or candidate.ref == full_name(profile, ref)
    ]
    if (own := profile.path) is None:
        return found
    place = full_name(profile, own.layer or "")
    return sorted(found, key=lambda each: (each.name != own.name, each.ref != place))
