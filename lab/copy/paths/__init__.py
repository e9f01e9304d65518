"""Offload paths: every way to ask for a copy, and where a profile has one."""

from lab.copy.paths.base import CopyPath
from lab.copy.paths.blocks import BdevCfr, BdevIoctl, DmKcopyd, ScsiXcopy
from lab.copy.paths.files import FsCfr, FsClone, LoopReflink
from lab.copy.paths.nvme import NvmeCopy, NvmeCrossNs, NvmetPassthrough
from lab.copy.paths.zns import ZnsCopy
from lab.errors import ProfileError, UsageError
from lab.profile.models import Profile

PATHS: dict[str, type[CopyPath]] = {
    path.name: path
    for path in (
        NvmeCopy, ZnsCopy, LoopReflink, ScsiXcopy, FsClone, FsCfr, NvmeCrossNs, NvmetPassthrough,
        DmKcopyd, BdevCfr, BdevIoctl,
    )
}  # fmt: skip
"""Every path by its name; of those that a profile has, the first is its own."""

REFERENCE = LoopReflink.name


def find(profile: Profile, name: str = "", ref: str = "", *, fua: bool = False) -> CopyPath:
    """The path of that name on the profile, or the profile's own; on the disk or layer `ref`, or
    the first that suits.  `fua` asks that the copy itself be durable.

    Raises UsageError for a path that does not exist, ProfileError where the profile has none.
    """
    if name and name not in PATHS:
        raise UsageError(f"no offload path {name}", hint=f"there are: {', '.join(PATHS)}")
    wanted = [PATHS[name]] if name else list(PATHS.values())
    for path in wanted:
        for candidate in path.candidates(profile):
            if ref in ("", candidate.ref):
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
