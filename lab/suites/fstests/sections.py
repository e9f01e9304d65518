# SPDX-License-Identifier: GPL-2.0-or-later
"""Where fstests runs on a profile: one section for each file system to be tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lab.errors import ProfileError, UsageError
from lab.profile.layers.filesystems import Btrfs
from lab.profile.models import Profile, stack
from lab.profile.stack import Stack
from lab.suites.fstests.exports import Export, by_role, free_exports
from lab.suites.fstests.parts import PART_ROLES, REALTIME, Parts, needed, needed_by, of_layer
from lab.suites.upstream.devices import LINKS, Testable, free_devices, top_file_systems

NFS = "nfs"
TYPES = ("ext4", "xfs", "btrfs", "f2fs", NFS)

DEFAULT = "xfs"
"""What a device without a file system gets."""

TEST_DIR, SCRATCH_MNT = "/mnt/test", "/mnt/scratch"

ROLES = {
    "test": "TEST_DEV",
    "scratch": "SCRATCH_DEV",
    "logwrites": "LOGWRITES_DEV",
    **PART_ROLES,
}
"""What a device can be for, and fstests' variable for it."""


@dataclass(frozen=True)
class Section:
    """One file system under test: devices as the profile names them, options as argv."""

    name: str
    fstyp: str
    devices: Mapping[str, str]
    """By role."""
    pool: tuple[str, ...] = ()
    mkfs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Of mount."""
    exports: Mapping[str, Export] = field(default_factory=dict)
    """Of NFS, which has no devices of its own: what the server has for each of them."""

    def address(self, role: str) -> str:
        """The device of a role, as the guest mounts it."""
        if export := self.exports.get(role):
            return export.address(role)
        return f"{LINKS}/{self.devices[role]}"

    @property
    def parts(self) -> Parts:
        """What of TEST_DEV is on devices of its own."""
        return Parts({role: self.address(role) for role in self.devices})

    def config(self, results: str) -> str:
        """The configuration that fstests reads (README.config-sections); `results` is the
        directory in the guest where it puts what it has to say of each case."""
        mount = f"-o {','.join(self.options)}" if self.options else ""
        values = {
            "FSTYP": self.fstyp,
            **{ROLES[role]: self.address(role) for role in self.devices},
            "SCRATCH_DEV_POOL": " ".join(f"{LINKS}/{name}" for name in self.pool),
            "USE_EXTERNAL": "yes" if set(PART_ROLES) & set(self.devices) else "",
            "TEST_DIR": TEST_DIR,
            "SCRATCH_MNT": SCRATCH_MNT,
            "MKFS_OPTIONS": " ".join(self.mkfs),
            "MOUNT_OPTIONS": mount,
            "TEST_FS_MOUNT_OPTS": mount,
            "RESULT_BASE": results,
        }
        lines = [f"{key}={value}" for key, value in values.items() if value]
        return "\n".join([f"[{self.name}]", *lines, ""])

    def making(self) -> list[list[str]]:
        """The commands that make the file system that fstests expects to find."""
        if self.exports:
            return [argv for role, export in self.exports.items() for argv in export.renewal(role)]
        test = self.address("test")
        # Where all of these are set, mkfs.xfs makes file systems below 300 MB, for fstests.
        env = ["env", "QA_CHECK_FS=true", f"TEST_DEV={test}", f"TEST_DIR={TEST_DIR}"]
        force = ["-F", "-q"] if self.fstyp == "ext4" else ["-f", "-q"]
        parts = self.parts.mkfs() if self.fstyp == DEFAULT else ()
        return [[*env, f"mkfs.{self.fstyp}", *force, *self.mkfs, *parts, test]]


@dataclass(frozen=True)
class SectionRequest:
    """What the person asked for, instead of what would be found."""

    fstyps: tuple[str, ...] = ()
    devices: Mapping[str, str] = field(default_factory=dict)
    """By role."""
    pool: tuple[str, ...] = ()


def sections(profile: Profile, wanted: SectionRequest) -> list[Section]:
    """The sections of a profile.

    Each file system that nothing stands on is one, on its own device and with its options, and so
    are NFS mounts; without any, the first device that nothing stands on is, as XFS.  Devices that
    are left over are SCRATCH_DEV and LOGWRITES_DEV, in the profile's order.  Raises ProfileError
    when there is nothing to test on, UsageError for what was asked for and cannot be.
    """
    found = stack(profile)
    tops = top_file_systems(profile)
    exports = free_exports(profile)
    free = free_devices(profile)
    asked = [*wanted.devices.values(), *wanted.pool]
    _check_asked(found, asked, [*free, *exports])
    own = {role: name for role, name in wanted.devices.items() if name not in exports}
    mounted = [_of_exports(roles) for roles in by_role(exports, wanted.devices)]
    made = [_of_layer(layer, own, found) for layer in tops]
    test = wanted.devices.get("test", "")
    if test in exports:
        made = []
    elif test:
        made, mounted = [_bare(test, own, found)], []
    elif not made and free and (not mounted or set(wanted.fstyps) - {NFS}):
        made = [_bare(next((ref for ref in free if ref not in asked), free[0]), own, found)]
    made = _as_types(profile, wanted.fstyps, made, mounted, found)
    taken = {*asked, *(name for one in made for name in (*one.devices.values(), *one.pool))}
    spare = [name for name in free if name not in taken]
    made = [
        one if one.exports else _with_devices(one, own, wanted.pool, spare, found) for one in made
    ]
    _check_used(wanted, made)
    return made


def _check_asked(found: Stack, names: Sequence[str], free: Sequence[str]) -> None:
    for name in names:
        node = found.nodes.get(name)
        if node is None or node.ref not in free:
            why = "something stands on it" if node else "there is none of that name"
            raise UsageError(
                f"device {name} cannot be tested: {why}", hint=f"there are: {', '.join(free)}"
            )


def _check_used(wanted: SectionRequest, made: Sequence[Section]) -> None:
    """Raise UsageError for a device that no section has as what it was to be."""
    roles = {item for section in made for item in section.devices.items()}
    lost = [f"{role}={name}" for role, name in wanted.devices.items() if (role, name) not in roles]
    if wanted.pool and not any(section.pool for section in made):
        lost.append(f"pool={','.join(wanted.pool)}")
    if lost:
        raise UsageError(
            f"no section can have {lost[0]}",
            hint="NFS mounts are test and scratch of each other, and devices all else",
        )


def _bare(test: str, asked: Mapping[str, str], found: Stack) -> Section:
    """The section of a device without a file system."""
    devices = {"test": test, **_for(DEFAULT, asked)}
    return Section(DEFAULT, DEFAULT, devices, mkfs=needed(DEFAULT, devices, found))


def _of_exports(roles: Mapping[str, Export]) -> Section:
    test = roles["test"]
    names = {role: export.name for role, export in roles.items()}
    return Section(test.name, NFS, names, options=test.options, exports=roles)


def _of_layer(layer: Testable, asked: Mapping[str, str], found: Stack) -> Section:
    test, *others = [found.nodes[use.ref].ref for use in layer.uses()]
    devices = {"test": test, **of_layer(layer, found), **_for(layer.type, asked)}
    # Of a file system on several devices fstests makes some on one, and others on a pool.
    several = others if isinstance(layer, Btrfs) else []
    if len(several) == 1:
        devices = {"scratch": several[0], **devices}
    pool = tuple(several) if len(several) > 1 else ()
    mkfs = (*needed_by(layer, devices, found), *layer.mkfs)
    return Section(layer.name, layer.type, devices, pool, mkfs, layer.options)


def _for(fstyp: str, asked: Mapping[str, str]) -> dict[str, str]:
    """The devices that a section of that type can have, of those that were asked for."""
    own = {role: name for role, name in asked.items() if role != "test"}
    return {role: name for role, name in own.items() if fstyp == DEFAULT or role not in REALTIME}


def _as_types(
    profile: Profile, fstyps: Sequence[str], made: list[Section], mounted: list[Section],
    found: Stack,
) -> list[Section]:  # fmt: skip
    """The sections of these types, by default all that there are.  Raises ProfileError when there
    is none, UsageError when there is none of a type."""
    if not (made or mounted):
        raise ProfileError(
            f"profile {profile.name}: fstests needs a device, or a file system, that nothing "
            "stands on",
            hint="add one to the profile's devices",
        )
    if not fstyps:
        return [*made, *mounted]
    chosen: list[Section] = []
    for fstyp in fstyps:
        more = mounted if fstyp == NFS else [_as(one, fstyp, found) for one in made[:1]]
        if not more and fstyp == NFS:
            raise UsageError(
                f"profile {profile.name} has no NFS mount that nothing stands on",
                hint="it is a layer of the profile: see nfs42",
            )
        if not more:
            raise UsageError(
                f"profile {profile.name} has no device to be made {fstyp} that nothing stands on",
                hint="add one to the profile's devices",
            )
        chosen += more
    return chosen


def _as(section: Section, fstyp: str, found: Stack) -> Section:
    """A section of another type on the same device; its options were for the other type."""
    if fstyp == section.fstyp:
        return section
    devices = {"test": section.devices["test"]}
    return Section(fstyp, fstyp, devices, mkfs=needed(fstyp, devices, found))


def _with_devices(
    section: Section, asked: Mapping[str, str], pool: tuple[str, ...], spare: Sequence[str],
    found: Stack,
) -> Section:  # fmt: skip
    """The section with the devices that it was asked to have, and with spare ones like its own."""
    devices = {**section.devices, **_for(section.fstyp, asked)}
    pool = pool or section.pool
    # fstests takes the first of a pool as its scratch device.
    roles = ["logwrites"] if pool else ["scratch", "logwrites"]
    if "test_rt" in devices and not pool:
        roles.insert(1, "scratch_rt")
    left = list(spare)
    for role in roles:
        zoned = found.nodes[devices["test_rt" if role == "scratch_rt" else "test"]].zoned
        alike = [name for name in left if found.nodes[name].zoned == zoned]
        if role not in devices and alike:
            devices[role] = alike[0]
            left.remove(alike[0])
    if "scratch_rt" in roles and "scratch_rt" not in devices and "scratch" not in asked:
        # It is made with the options of TEST_DEV, which has a realtime section.
        devices.pop("scratch", None)
    return replace(section, devices=devices, pool=pool)
