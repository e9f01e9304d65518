"""Where fstests runs on a profile: one section for each file system to be tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lab.errors import ProfileError, UsageError
from lab.profile.layers.filesystems import Btrfs, Ext4, F2fs, Xfs
from lab.profile.models import Profile, stack
from lab.profile.stack import Stack

Testable = Ext4 | Xfs | Btrfs | F2fs
"""Layers that can be a section."""

TYPES = ("ext4", "xfs", "btrfs", "f2fs")

DEFAULT = "xfs"
"""What a device without a file system gets."""

LINKS = "/dev/lab"
TEST_DIR, SCRATCH_MNT = "/mnt/test", "/mnt/scratch"

ROLES = {
    "test": "TEST_DEV",
    "scratch": "SCRATCH_DEV",
    "logwrites": "LOGWRITES_DEV",
    "scratch_log": "SCRATCH_LOGDEV",
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

    def config(self, results: str) -> str:
        """The configuration that fstests reads (README.config-sections); `results` is the
        directory in the guest where it puts what it has to say of each case."""
        mount = f"-o {','.join(self.options)}" if self.options else ""
        values = {
            "FSTYP": self.fstyp,
            **{ROLES[role]: f"{LINKS}/{name}" for role, name in self.devices.items()},
            "SCRATCH_DEV_POOL": " ".join(f"{LINKS}/{name}" for name in self.pool),
            "USE_EXTERNAL": "yes" if "scratch_log" in self.devices else "",
            "TEST_DIR": TEST_DIR,
            "SCRATCH_MNT": SCRATCH_MNT,
            "MKFS_OPTIONS": " ".join(self.mkfs),
            "MOUNT_OPTIONS": mount,
            "TEST_FS_MOUNT_OPTS": mount,
            "RESULT_BASE": results,
        }
        lines = [f"{key}={value}" for key, value in values.items() if value]
        return "\n".join([f"[{self.name}]", *lines, ""])

    def mkfs_argv(self) -> list[str]:
        """The command that makes the file system that fstests expects to find."""
        force = {"ext4": ["-F", "-q"], "xfs": ["-f", "-q"], "btrfs": ["-f", "-q"]}
        return [
            f"mkfs.{self.fstyp}",
            *force.get(self.fstyp, ["-f", "-q"]),
            *self.mkfs,
            f"{LINKS}/{self.devices['test']}",
        ]

    @property
    def mkfs_env(self) -> dict[str, str]:
        """Where all of these are set, mkfs.xfs makes file systems below 300 MB, for fstests."""
        test = f"{LINKS}/{self.devices['test']}"
        return {"QA_CHECK_FS": "true", "TEST_DEV": test, "TEST_DIR": TEST_DIR}


@dataclass(frozen=True)
class Wanted:
    """What the person asked for, instead of what would be found."""

    fstyps: tuple[str, ...] = ()
    devices: Mapping[str, str] = field(default_factory=dict)
    """By role."""
    pool: tuple[str, ...] = ()


def sections(profile: Profile, wanted: Wanted) -> list[Section]:
    """The sections of a profile.

    Each file system that nothing stands on is one, on its own device and with its options; without
    any, the first device that nothing stands on is, as XFS.  Devices that are left over are
    SCRATCH_DEV and LOGWRITES_DEV, in the profile's order.  Raises ProfileError when there is
    nothing to test on, UsageError for what was asked for and cannot be.
    """
    found = stack(profile)
    tops = top_file_systems(profile)
    free = _free_devices(found, tops)
    asked = [*wanted.devices.values(), *wanted.pool]
    _check_asked(found, asked, free)
    made = [_of_layer(layer, found) for layer in tops]
    if "test" in wanted.devices or not made:
        if not free:
            raise ProfileError(
                f"profile {profile.name}: fstests needs a device, or a file system, that nothing "
                "stands on",
                hint="add one to the profile's devices",
            )
        test = wanted.devices.get("test", free[0])
        made = [Section(DEFAULT, DEFAULT, {"test": test}, mkfs=_needed(DEFAULT, test, found))]
    if wanted.fstyps:
        made = [_as(made[0], fstyp, found) for fstyp in wanted.fstyps]
    taken = {*asked, *(section.devices["test"] for section in made)}
    spare = [name for name in free if name not in taken]
    return [_with_devices(section, wanted, spare, found) for section in made]


def boot_profile(profile: Profile) -> Profile:
    """The profile without the file systems on top: they are made and mounted by the suite."""
    tops = {layer.name for layer in top_file_systems(profile)}
    layers = tuple(layer for layer in profile.layers if layer.name not in tops)
    return profile.model_copy(update={"layers": layers})


def top_file_systems(profile: Profile) -> list[Testable]:
    """The file systems of the profile that nothing stands on and that can be a section: on one
    device, which is what fstests makes them on."""
    used = stack(profile).users
    return [
        layer
        for layer in profile.layers
        if isinstance(layer, Testable)
        and layer.name not in used
        and not (isinstance(layer, F2fs) and layer.zoned)
    ]


def _free_devices(found: Stack, tops: Sequence[Testable]) -> list[str]:
    """The block devices that only the file systems on top stand on, if any, by reference."""
    names = {layer.name for layer in tops}
    used = {
        ref for ref, users in found.users.items() if any(user not in names for user, _ in users)
    }
    blocks = {node.ref: node for node in found.nodes.values() if node.kind == "block"}
    parted = {node.within for node in blocks.values()}
    return [
        ref
        for ref, node in blocks.items()
        if ref not in used and ref not in parted and not node.read_only
    ]


def _check_asked(found: Stack, names: Sequence[str], free: Sequence[str]) -> None:
    for name in names:
        node = found.nodes.get(name)
        if node is None or node.ref not in free:
            why = "something stands on it" if node else "there is none of that name"
            raise UsageError(
                f"device {name} cannot be tested: {why}", hint=f"there are: {', '.join(free)}"
            )


def _of_layer(layer: Testable, found: Stack) -> Section:
    test = found.nodes[layer.over].ref
    own = ("-m", f"reflink={int(layer.reflink)}") if isinstance(layer, Xfs) else ()
    mkfs = (*own, *_needed(layer.type, test, found), *layer.mkfs)
    return Section(layer.name, layer.type, {"test": test}, (), mkfs, layer.options)


def _needed(fstyp: str, test: str, found: Stack) -> tuple[str, ...]:
    """Arguments of mkfs without which the file system does not fit the device."""
    # Two copies of the metadata would need twice the zones.
    return ("-d", "single", "-m", "single") if fstyp == "btrfs" and found.nodes[test].zoned else ()


def _as(section: Section, fstyp: str, found: Stack) -> Section:
    """A section of another type on the same device; its options were for the other type."""
    if fstyp == section.fstyp:
        return section
    mkfs = _needed(fstyp, section.devices["test"], found)
    return Section(fstyp, fstyp, section.devices, mkfs=mkfs)


def _with_devices(section: Section, wanted: Wanted, spare: Sequence[str], found: Stack) -> Section:
    """The section with the devices that it was asked to have, and with spare ones like its own."""
    devices = {**section.devices, **wanted.devices}
    zoned = found.nodes[devices["test"]].zoned
    alike = [name for name in spare if found.nodes[name].zoned == zoned]
    # fstests takes the first of a pool as its scratch device.
    roles = ("logwrites",) if wanted.pool else ("scratch", "logwrites")
    lacking = [role for role in roles if role not in devices]
    return replace(
        section, devices={**devices, **dict(zip(lacking, alike, strict=False))}, pool=wanted.pool
    )
