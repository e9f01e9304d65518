"""Offload paths: every way to ask for a copy, and where a profile has one."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from lab.copy.paths.base import CopyPath
from lab.copy.paths.blocks import BdevCfr, BdevIoctl, DmKcopyd, ScsiXcopy
from lab.copy.paths.files import FsCfr, FsClone, LoopReflink
from lab.copy.paths.find import full_name
from lab.copy.paths.nvme import NvmeCopy, NvmeCrossNs, NvmetPassthrough
from lab.copy.paths.zns import ZnsCopy
from lab.errors import ProfileError, UsageError
from lab.profile.base import Conflict
from lab.profile.models import Profile

PATHS: dict[str, type[CopyPath]] = {
    path.name: path
    for path in (
        NvmeCopy, ZnsCopy, LoopReflink, ScsiXcopy, FsClone, FsCfr, NvmeCrossNs, NvmetPassthrough,
        DmKcopyd, BdevCfr, BdevIoctl,
    )
}  # fmt: skip
"""Every path by its name; of those that a profile has, the first is its own, unless it says."""

REFERENCE = LoopReflink.name


def find(profile: Profile, name: str = "", ref: str = "", *, fua: bool = False) -> CopyPath:
    """The path of that name on the profile, or the profile's own; on the disk or layer `ref`, or
    the profile's own, or the first that suits.  `fua` asks that the copy itself be durable.

    Raises UsageError for a path that does not exist, ProfileError where the profile has none.
    """
    if name and name not in PATHS:
        raise UsageError(f"no offload path {name}", hint=f"there are: {', '.join(PATHS)}")
    own = profile.path
    if own and not name and not ref:
        name, ref = own.name, own.layer or ""
    for candidate in _preferred(profile, [name] if name else list(PATHS), ref):
        if fua:
            candidate.force_unit_access()
        return candidate
    where = f" on {ref}" if ref else ""
    if name:
        raise ProfileError(
            f"profile {profile.name} has no offload path {name}{where}",
            hint=f"{name} needs {PATHS[name].needs}",
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
    known = ", ".join(PATHS)
    if own.name not in PATHS:
        close = get_close_matches(own.name, PATHS, n=1)
        question = f"; did you mean {close[0]}?" if close else ";"
        yield ("path", "name"), f"no offload path is called {own.name!r}{question} expected {known}"
    elif not (places := dict.fromkeys(each.ref for each in PATHS[own.name].candidates(profile))):
        has = [name for name in PATHS if any(True for _ in PATHS[name].candidates(profile))]
        instead = f"one of: {', '.join(has)}" if has else "no `path`: there is a place for none"
        yield (
            ("path", "name"),
            f"there is no place for {own.name}, which needs {PATHS[own.name].needs}; "
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
        for candidate in PATHS[name].candidates(profile)
        if not ref or candidate.ref == full_name(profile, ref)
    ]
    if (own := profile.path) is None:
        return found
    place = full_name(profile, own.layer or "")
    return sorted(found, key=lambda each: (each.name != own.name, each.ref != place))
