# SPDX-License-Identifier: GPL-2.0-or-later
"""NFS mounts of a profile as fstests takes them: as addresses that it mounts by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from lab.profile.layers.filesystems import MountLayer, Nfs
from lab.profile.models import Profile, stack

SERVER = "127.0.0.1"
"""The server that guest-scripts/layers/nfs.py starts, which exports each mount as /NAME."""

_ROLES = ("test", "scratch")
"""What an export can be for."""


@dataclass(frozen=True)
class Export:
    """What the server in the guest exports for an NFS layer.

    `mount` is where the layer mounts it, `served` the file system that is exported; both are
    directories in the guest.  `options` are those of the layer's mount.
    """

    name: str
    mount: str
    served: str
    options: tuple[str, ...]

    def address(self, role: str) -> str:
        """The device of a role: a directory of its own, which leaves alone whatever else is on
        the file system."""
        return f"{SERVER}:/{self.name}/{role}"

    def renewal(self, role: str) -> Iterator[list[str]]:
        """The commands that make that directory, or make it again: there is no mkfs."""
        directory = f"{self.served}/{role}"
        yield ["rm", "-rf", directory]
        yield ["mkdir", directory]


def free_exports(profile: Profile) -> dict[str, Export]:
    """The NFS mounts of the profile that nothing stands on, by name, in its order."""
    used = stack(profile).users
    layers = {layer.name: layer for layer in profile.layers}
    return {
        layer.name: Export(
            layer.name,
            layer.mount_point,
            cast(MountLayer, layers[layer.over]).mount_point,
            (f"vers={layer.version}", *layer.options),
        )
        for layer in profile.layers
        if isinstance(layer, Nfs) and layer.name not in used
    }


def by_role(exports: Mapping[str, Export], asked: Mapping[str, str]) -> list[dict[str, Export]]:
    """The exports of each section, by role; `exports` are by name.

    Of those that are mounted alike the first is tested, the second is its SCRATCH_DEV; what is
    mounted with other options is a section of its own.  `asked` has names by role, those of devices
    among them.
    """
    given = {role: exports[asked[role]] for role in _ROLES if asked.get(role) in exports}
    # The only one that there is can be both.
    left = [one for one in exports.values() if one not in given.values()] or [*given.values()]
    if "test" in given:
        return [_with_scratch(given["test"], left, given)]
    found: list[dict[str, Export]] = []
    while left:
        roles = _with_scratch(left[0], left[1:], given)
        left = [one for one in left if one not in roles.values()]
        found.append(roles)
    return found


def _with_scratch(
    test: Export, spare: Sequence[Export], given: Mapping[str, Export]
) -> dict[str, Export]:
    scratch = next((one for one in spare if one.options == test.options), None)
    return {"test": test, **({"scratch": scratch} if scratch else {}), **given}
