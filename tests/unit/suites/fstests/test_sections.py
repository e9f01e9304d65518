# SPDX-License-Identifier: GPL-2.0-or-later
"""From a profile to what fstests is configured with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.errors import ProfileError, UsageError
from lab.profile.load import load, load_file
from lab.profile.models import Profile
from lab.suites.fstests.faults.recovery import FileSystemRecovery
from lab.suites.fstests.sections import SectionRequest, sections
from lab.suites.upstream.devices import boot_profile
from tests import ROOT

DISKS = """description: d
devices:
  - {type: virtio-blk, serial: A, size: 1G}
  - {type: virtio-blk, serial: B, size: 1G}
  - {type: nvme, serial: C, namespaces: [{size: 1G}, {size: 64M, zoned: {zone_size: 8M}}]}
"""


def profile(tmp_path: Path, more: str = "") -> Profile:
    path = tmp_path / "p.yaml"
    path.write_text(DISKS + more)
    return load_file(path)


def test_devices_without_a_file_system_are_taken_in_their_order(tmp_path: Path) -> None:
    (section,) = sections(profile(tmp_path), SectionRequest())
    assert (section.name, section.fstyp) == ("xfs", "xfs")
    assert section.devices == {"test": "A", "scratch": "B", "logwrites": "C:1"}


def test_each_file_system_on_top_is_a_section_with_its_own_options(tmp_path: Path) -> None:
    layers = """layers:
  - {name: data, type: xfs, over: A, reflink: false, options: [noatime], mkfs: [-i, size=1024]}
  - {name: small, type: ext4, over: B}
"""
    one, two = sections(profile(tmp_path, layers), SectionRequest())
    assert (one.name, one.fstyp, one.devices["test"]) == ("data", "xfs", "A")
    assert one.mkfs == ("-m", "reflink=0", "-i", "size=1024")
    assert one.options == ("noatime",)
    assert (two.name, two.fstyp, two.devices["test"]) == ("small", "ext4", "B")
    assert one.devices["scratch"] == two.devices["scratch"] == "C:1"


def test_the_configuration_is_what_fstests_reads(tmp_path: Path) -> None:
    (section,) = sections(profile(tmp_path), SectionRequest())
    assert section.config("/results") == (
        "[xfs]\nFSTYP=xfs\nTEST_DEV=/dev/lab/A\nSCRATCH_DEV=/dev/lab/B\n"
        "LOGWRITES_DEV=/dev/lab/C:1\nTEST_DIR=/mnt/test\nSCRATCH_MNT=/mnt/scratch\n"
        "RESULT_BASE=/results\n"
    )


def test_what_a_layer_stands_on_is_not_tested(tmp_path: Path) -> None:
    layers = "layers:\n  - {name: d, type: dm-linear, over: [A]}\n"
    layers = "layers:\n  - {name: d, type: dm-flakey, over: A, up: 1h, down: 0s}\n"
    (section,) = sections(profile(tmp_path, layers), SectionRequest())
    assert section.devices == {"test": "B", "scratch": "C:1", "logwrites": "d"}


def test_the_reference_model_is_tested_on_its_loop_device() -> None:
    model = load("loop-xfs-reflink")
    (section,) = sections(model, SectionRequest())
    assert (section.fstyp, section.devices) == ("ext4", {"test": "disk", "scratch": "model"})
    # The suite makes and mounts it by itself; what it stands on is made as ever.
    assert [layer.name for layer in boot_profile(model).layers] == ["xfs", "disk", "model"]


def test_btrfs_on_zones_gets_one_copy_of_its_metadata() -> None:
    (section,) = sections(load("zns-btrfs"), SectionRequest())
    (argv,) = section.making()
    assert argv[argv.index("mkfs.btrfs") :] == [
        "mkfs.btrfs", "-f", "-q", "-d", "single", "-m", "single", "/dev/lab/LABZNS:1",
    ]  # fmt: skip


def test_several_file_systems_are_sections_on_the_same_devices(tmp_path: Path) -> None:
    found = sections(profile(tmp_path), SectionRequest(fstyps=("xfs", "ext4", "btrfs")))
    assert [section.name for section in found] == ["xfs", "ext4", "btrfs"]
    assert len({tuple(section.devices.items()) for section in found}) == 1


def test_devices_can_be_chosen(tmp_path: Path) -> None:
    wanted = SectionRequest(devices={"test": "B", "scratch_log": "A"}, pool=("C:1",))
    (section,) = sections(profile(tmp_path), wanted)
    config = section.config("/r")
    assert "TEST_DEV=/dev/lab/B\n" in config
    assert "SCRATCH_DEV_POOL=/dev/lab/C:1\n" in config
    assert "SCRATCH_DEV=" not in config
    assert "SCRATCH_LOGDEV=/dev/lab/A\nUSE_EXTERNAL=yes\n" in config.replace(
        "SCRATCH_DEV_POOL=/dev/lab/C:1\n", ""
    )


ZONED = """layers:
  - {name: z, type: null-blk, size: 1G, zoned: {zone_size: 16M}}
  - {name: z2, type: null-blk, size: 1G, zoned: {zone_size: 16M}}
"""


def test_a_zoned_realtime_section_comes_with_all_that_mkfs_and_fstests_must_be_told(
    tmp_path: Path,
) -> None:
    layers = ZONED + "  - {name: fs, type: xfs, over: A, rt: z, log: 'C:1'}\n"
    (section,) = sections(profile(tmp_path, layers), SectionRequest())
    assert section.devices == {
        "test": "A", "test_rt": "z", "log": "C:1", "scratch": "B", "scratch_rt": "C:2",
    }  # fmt: skip
    config = section.config("/r")
    for line in (
        "TEST_RTDEV=/dev/lab/z", "SCRATCH_RTDEV=/dev/lab/C:2", "TEST_LOGDEV=/dev/lab/C:1",
        "USE_EXTERNAL=yes", "MKFS_OPTIONS=-m reflink=0 -r zoned=1",
    ):  # fmt: skip
        assert f"{line}\n" in config
    (argv,) = section.making()
    assert argv[argv.index("mkfs.xfs") :] == [
        "mkfs.xfs", "-f", "-q", "-m", "reflink=0", "-r", "zoned=1",
        "-r", "rtdev=/dev/lab/z", "-l", "logdev=/dev/lab/C:1", "/dev/lab/A",
    ]  # fmt: skip
    command = FileSystemRecovery({"fs": section}, stacked=False).command(
        "fs", ["generic/001.recovery"]
    )
    words = list(command.argv)
    assert "-o rtdev=/dev/lab/z,logdev=/dev/lab/C:1" in words
    assert words[-4:] == ["-r", "/dev/lab/z", "-l", "/dev/lab/C:1"]


def test_what_has_no_second_realtime_device_has_no_scratch_device(tmp_path: Path) -> None:
    one = ZONED.splitlines(keepends=True)[:2]
    layers = "".join(one) + "  - {name: fs, type: xfs, over: A, rt: z}\n"
    layers += "  - {name: used, type: zonefs, over: 'C:2'}\n"
    (section,) = sections(profile(tmp_path, layers), SectionRequest())
    assert section.devices == {"test": "A", "test_rt": "z", "logwrites": "C:1"}
    (section,) = sections(profile(tmp_path, layers), SectionRequest(devices={"scratch_rt": "B"}))
    assert (section.devices["scratch"], section.devices["scratch_rt"]) == ("C:1", "B")


def test_realtime_devices_can_be_chosen_for_xfs_alone(tmp_path: Path) -> None:
    asked = SectionRequest(devices={"test": "A", "test_rt": "B", "scratch_rt": "C:1"})
    (section,) = sections(profile(tmp_path), asked)
    assert section.mkfs == ("-m", "reflink=0", "-d", "rtinherit=1")
    assert section.parts.repair() and "SCRATCH_RTDEV=/dev/lab/C:1\n" in section.config("/r")
    fs = "layers:\n  - {name: e, type: ext4, over: A}\n"
    with pytest.raises(UsageError, match="no section can have test_rt=B"):
        sections(profile(tmp_path, fs), SectionRequest(devices={"test_rt": "B"}))


def test_btrfs_on_several_devices_is_tested_on_one_with_the_others_as_its_pool(
    tmp_path: Path,
) -> None:
    layers = "layers:\n  - {name: t, type: btrfs, over: [A, B, 'C:1'], data: raid1}\n"
    (section,) = sections(profile(tmp_path, layers), SectionRequest())
    assert (section.fstyp, section.devices, section.mkfs) == ("btrfs", {"test": "A"}, ())
    assert section.pool == ("B", "C:1")
    two = layers.replace(", 'C:1'", "")
    (section,) = sections(profile(tmp_path, two), SectionRequest())
    assert section.devices == {"test": "A", "scratch": "B", "logwrites": "C:1"}


@pytest.mark.parametrize(("name", "why"), [("Z", "none of that name"), ("A", "stands on it")])
def test_a_device_that_cannot_be_tested_is_told(tmp_path: Path, name: str, why: str) -> None:
    layers = "layers:\n  - {name: d, type: dm-flakey, over: A, up: 1h, down: 0s}\n"
    with pytest.raises(UsageError, match=why):
        sections(profile(tmp_path, layers), SectionRequest(devices={"test": name}))


EXPORTS = """layers:
  - {name: fs, type: xfs, over: A, mount: /srv/fs}
  - {name: one, type: nfs, over: fs}
  - {name: old, type: nfs, over: fs, version: "4.1", options: [soft]}
  - {name: two, type: nfs, over: fs}
"""


def test_an_nfs_mount_is_a_section_that_the_server_below_stays_up_for() -> None:
    nfs42 = load("nfs42")
    (section,) = sections(nfs42, SectionRequest())
    assert section.config("/results") == (
        "[client]\nFSTYP=nfs\nTEST_DEV=127.0.0.1:/client/test\n"
        "TEST_DIR=/mnt/test\nSCRATCH_MNT=/mnt/scratch\n"
        "MOUNT_OPTIONS=-o vers=4.2\nTEST_FS_MOUNT_OPTS=-o vers=4.2\nRESULT_BASE=/results\n"
    )
    assert section.making() == [["rm", "-rf", "/mnt/server/test"], ["mkdir", "/mnt/server/test"]]
    assert boot_profile(nfs42) == nfs42


def test_of_nfs_mounts_that_are_alike_the_second_is_the_scratch_device(tmp_path: Path) -> None:
    new, old = sections(profile(tmp_path, EXPORTS), SectionRequest())
    assert (new.name, new.devices) == ("one", {"test": "one", "scratch": "two"})
    assert "\nSCRATCH_DEV=127.0.0.1:/two/scratch\n" in new.config("/r")
    assert [argv[-1] for argv in new.making()[::2]] == ["/srv/fs/test", "/srv/fs/scratch"]
    assert (old.name, old.devices, old.options) == ("old", {"test": "old"}, ("vers=4.1", "soft"))


def test_nfs_mounts_can_be_chosen_and_devices_beside_them(tmp_path: Path) -> None:
    found = profile(tmp_path, EXPORTS)

    def devices(**wanted: Any) -> list[Mapping[str, str]]:
        return [section.devices for section in sections(found, SectionRequest(**wanted))]

    assert devices(devices={"test": "two"}) == [{"test": "two", "scratch": "one"}]
    assert devices(devices={"test": "old", "scratch": "one"}) == [{"test": "old", "scratch": "one"}]
    assert devices(devices={"test": "B"}) == [{"test": "B", "scratch": "C:1"}]
    assert devices(fstyps=("nfs", "ext4")) == [
        {"test": "one", "scratch": "two"}, {"test": "old"}, {"test": "B", "scratch": "C:1"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wanted", "why"),
    [
        ("nvme-copy", SectionRequest(fstyps=("nfs",)), "has no NFS mount"),
        ("nfs42", SectionRequest(fstyps=("xfs",)), "has no device to be made xfs"),
        ("loop-nfs42", SectionRequest(devices={"test": "client"}), "something stands on it"),
        ("nfs42", SectionRequest(devices={"logwrites": "client"}), "can have logwrites=client"),
        (
            "nfs42",
            SectionRequest(devices={"test": "client"}, pool=("client",)),
            "can have pool=client",
        ),
    ],
)
def test_nfs_is_refused_where_it_cannot_be(name: str, wanted: SectionRequest, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        sections(load(name), wanted)


def test_one_nfs_mount_can_be_both() -> None:
    (section,) = sections(load("nfs42"), SectionRequest(devices={"scratch": "client"}))
    config = section.config("/r")
    assert "\nTEST_DEV=127.0.0.1:/client/test\nSCRATCH_DEV=127.0.0.1:/client/scratch\n" in config


def test_a_device_beside_nfs_mounts_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can have scratch_log=B"):
        sections(profile(tmp_path, EXPORTS), SectionRequest(devices={"scratch_log": "B"}))


def test_every_profile_that_ships_has_sections_or_says_why_not() -> None:
    for path in sorted((ROOT / "profiles").glob("*.yaml")):
        shipped = load_file(path)
        try:
            found = sections(shipped, SectionRequest())
        except ProfileError as error:
            assert "needs a device" in error.message
        else:
            assert all(section.devices["test"] for section in found)
