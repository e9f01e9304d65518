# SPDX-License-Identifier: GPL-2.0-or-later
"""The path that copy-faults takes on a profile: what the profile says, or its layers choose."""

from pathlib import Path

import pytest

from lab.copy.paths import REFERENCE, find
from lab.errors import ProfileError
from lab.problem import InvalidProfileError
from lab.profile.check import check
from lab.profile.find import shipped
from lab.profile.load import load
from lab.profile.models import Profile
from lab.suites.conformance.options import parse
from lab.suites.conformance.run import sweeps

NONE = ("", "")
"""Of a profile that is about something else, or about what has no offload."""

OWN = {
    "btrfs-raid1": ("fs-clone", "btrfs"),
    "copyref-xfs": ("copyref", "model"),
    "dm-crypt-integrity": NONE,
    "dm-flakey-loop": ("loop-reflink", "model"),
    "dm-kcopyd": ("dm-kcopyd", "LABNVME0:7"),
    "dm-linear-one": ("bdev-cfr", "moved"),
    "dm-linear-split": ("bdev-cfr", "split"),
    "dm-verity": NONE,
    "dm-verity-tasklet": NONE,
    "loop-btrfs": ("loop-reflink", "model"),
    "loop-nfs42": ("loop-reflink", "model"),
    "loop-xfs-reflink": ("loop-reflink", "model"),
    "md-disks": ("bdev-cfr-stacked", "stripes"),
    "md-raid1": ("fs-clone", "xfs"),
    "nfs42": ("fs-clone", "client"),
    "null-blk": ("bdev-cfr-memory", "memory"),
    "null-blk-zoned": NONE,
    "nvme-copy": ("nvme-copy", "LABNVME0:1"),
    "nvme-copy-4k": ("nvme-copy", "LABNVME0:1"),
    "nvme-copy-pi": ("nvme-copy", "LABNVME0:1"),
    "nvme-cross-namespace": ("nvme-cross-ns", "LABNVME0:2"),
    "nvme-multipath": ("nvme-copy", "LABNVME0:1"),
    "nvme-partition": ("bdev-cfr", "part"),
    "nvme-two-disks": ("bdev-cfr-across", "LABNVME1:1"),
    "nvmet-loop-bdev": ("bdev-cfr", "target"),
    "nvmet-loop-file": ("fs-clone", "host"),
    "nvmet-tcp": NONE,
    "scsi-xcopy": ("scsi-xcopy", "block"),
    "smr-scsi-debug": NONE,
    "virtio-scsi": NONE,
    "virtio-scsi-pair": NONE,
    "zns": ("zns-copy", "LABNVME0:1"),
    "zns-btrfs": ("fs-clone", "btrfs"),
    "zns-zonefs": NONE,
}
"""Every profile that ships, the path that it is about, and where."""

TWO = """\
description: two namespaces, and NFS
devices:
  - {type: nvme, serial: A, namespaces: [{size: 64M}, {size: 64M}, {size: 320M}]}
layers:
  - {name: server, type: xfs, over: "A:3"}
  - {name: client, type: nfs, over: server}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two.yaml in it, so that files are shown by their names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.yaml").write_text(TWO)
    return tmp_path


def two(*lines: str, name: str = "p.yaml") -> Profile:
    """two.yaml with these lines laid over it; they start on line 2."""
    Path(name).write_text("\n".join(["extends: two.yaml", *lines, ""]))
    return load(name)


def problem(*lines: str) -> str:
    """The one thing that is wrong with two(), as `lab profile check` tells it."""
    with pytest.raises(InvalidProfileError) as raised:
        two(*lines)
    (checked,) = check(["p.yaml"])
    assert list(map(str, checked.problems)) == str(raised.value).splitlines()
    (found,) = checked.problems
    return str(found)


def chosen(profile: Profile, name: str = "", ref: str = "") -> tuple[str, str]:
    """Name and place of the path that is taken."""
    found = find(profile, name, ref)
    return found.name, found.ref


def test_the_table_has_every_profile_that_ships() -> None:
    assert sorted(OWN) == sorted(path.stem for path in shipped())


@pytest.mark.parametrize("name", OWN)
def test_each_profile_takes_the_path_that_it_is_about(name: str) -> None:
    if OWN[name] == NONE:
        with pytest.raises(ProfileError, match=f"profile {name} has no offload path"):
            find(load(name))
    else:
        assert chosen(load(name)) == OWN[name]


@pytest.mark.parametrize(
    "name", [name for name, (path, _) in OWN.items() if path not in ("", REFERENCE)]
)
def test_conformance_compares_that_path(name: str) -> None:
    *_, sweep = sweeps(load(name), parse([]))
    assert sweep.path.name == OWN[name][0]


def test_a_profile_says_its_path_by_name_or_with_the_place() -> None:
    assert chosen(two()) == ("nvme-copy", "A:1")
    assert chosen(two("path: bdev-cfr")) == ("bdev-cfr", "A:1")
    assert chosen(two("path: {name: bdev-cfr, layer: 'A:2'}")) == ("bdev-cfr", "A:2")
    assert chosen(two("path: {name: fs-clone, layer: server}")) == ("fs-clone", "server")


def test_a_namespace_goes_by_its_serial_where_it_is_the_only_one() -> None:
    alone = load("nvme-copy", ["path={name: dm-kcopyd, layer: LABNVME0}"])
    assert chosen(alone) == ("dm-kcopyd", "LABNVME0:1")
    assert chosen(alone, "nvme-copy", "LABNVME0") == ("nvme-copy", "LABNVME0:1")


def test_what_the_command_line_asks_for_goes_first() -> None:
    own = two("path: {name: bdev-cfr, layer: 'A:2'}")
    # A path by name is tried on the profile's own place first.
    assert chosen(own, "nvme-copy") == ("nvme-copy", "A:2")
    assert chosen(own, "fs-clone") == ("fs-clone", "client")
    # On another place the profile's own path, where it can be had.
    assert chosen(own, "", "A:1") == ("bdev-cfr", "A:1")
    assert chosen(own, "", "server") == ("fs-clone", "server")
    with pytest.raises(ProfileError, match="has no offload path bdev-cfr on client"):
        find(own, "bdev-cfr", "client")


def test_of_file_systems_the_uppermost_that_shares_blocks_is_taken() -> None:
    assert chosen(two(), "fs-clone") == chosen(two(), "fs-clone", "client")
    assert chosen(load("loop-nfs42"), "fs-cfr") == ("fs-cfr", "client")
    # ext4, above all others there, would copy by reads and writes.
    assert chosen(load("loop-xfs-reflink"), "fs-cfr") == ("fs-cfr", "xfs")


def test_extends_and_set_change_it() -> None:
    two("path: {name: bdev-cfr, layer: 'A:2'}", name="base.yaml")
    Path("p.yaml").write_text("extends: base.yaml\n")
    assert chosen(load("p.yaml")) == ("bdev-cfr", "A:2")
    Path("p.yaml").write_text("extends: base.yaml\npath: {layer: 'A:1'}\n")
    assert chosen(load("p.yaml")) == ("bdev-cfr", "A:1")
    assert chosen(load("p.yaml", ["path.name=dm-kcopyd"])) == ("dm-kcopyd", "A:1")
    Path("p.yaml").write_text("extends: base.yaml\npath: fs-cfr\n")
    assert chosen(load("p.yaml")) == ("fs-cfr", "client")
    Path("p.yaml").write_text("extends: base.yaml\npath:\n")
    assert chosen(load("p.yaml")) == ("nvme-copy", "A:1")
    assert chosen(load("dm-kcopyd", ["path="])) == ("nvme-copy", "LABNVME0:7")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["path: warp"], "p.yaml:2: path: no offload path is called 'warp'; expected nvme-copy, "),
        (["path: dm-kcopy"], "p.yaml:2: path: no offload path is called 'dm-kcopy'; did you mean "
         "dm-kcopyd? expected nvme-copy, "),
        (["path:", "  name: warp"], "p.yaml:3: path.name: no offload path is called 'warp'; "),
        (["path: zns-copy"], "p.yaml:2: path: there is no place for zns-copy, which needs an "
         "emulated zoned NVMe namespace without layers; expected one of: nvme-copy, fs-clone, "),
        (["path:", "  name: nvme-cross-ns", "  layer: client"], "p.yaml:4: path.layer: 'client' is "
         "no place for nvme-cross-ns; expected A:1 or A:2"),
        (["path: {name: fs-clone, layer: nobody}"], "p.yaml:2: path.layer: 'nobody' is no place "
         "for fs-clone; expected client or server"),
        (["path: {layer: client}"], "p.yaml:2: path.name: missing; expected: "),
        (["path: {name: fs-clone, on: client}"], "p.yaml:2: path.on: unknown key; "),
        (["path: [fs-clone]"], "p.yaml:2: path: a list does not fit; expected an offload path, "
         "such as nvme-copy, or a mapping with name, layer"),
        (["path: FS clone"], "p.yaml:2: path: 'FS clone' does not fit; expected an offload path"),
        (["path: nvme-copy", "layers: []", "devices: [{type: virtio-blk, serial: V, size: 8M}]"],
         "p.yaml:2: path: there is no place for nvme-copy, which needs an emulated NVMe namespace "
         "without zones or layers; expected no `path`"),
    ],
)  # fmt: skip
def test_what_is_no_path_of_the_profile_is_refused(lines: list[str], said: str) -> None:
    assert problem(*lines).startswith(said)


def test_a_path_that_another_file_or_a_change_takes_the_place_from() -> None:
    two("path: fs-clone", name="base.yaml")
    Path("p.yaml").write_text("extends: base.yaml\nlayers: []\n")
    with pytest.raises(InvalidProfileError, match=r"^base\.yaml:2: path: there is no place for"):
        load("p.yaml")
    with pytest.raises(InvalidProfileError, match=r"^--set path=warp: path: no offload path"):
        load("two.yaml", ["path=warp"])


def test_a_record_of_a_profile_has_its_path() -> None:
    own = two("path: {name: fs-clone, layer: client}")
    assert Profile.model_validate_json(own.model_dump_json()) == own
    assert chosen(Profile.model_validate_json(own.model_dump_json())) == ("fs-clone", "client")
