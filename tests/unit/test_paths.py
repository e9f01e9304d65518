# SPDX-License-Identifier: GPL-2.0-or-later
"""Offload paths: where a profile has one, what it asks for, and what proves the offload."""

from dataclasses import replace
from typing import Any

import pytest

from lab.copy.ground import GuestGround, errno_name
from lab.copy.model import SECTOR, Copy, Extent
from lab.copy.oracle import Tagging
from lab.copy.paths import OWN, find
from lab.copy.paths.base import GUARD, Observation
from lab.copy.paths.instrument import Subject
from lab.copy.tags import describe
from lab.errors import ProfileError, UsageError
from lab.faults.model import Point, Stage
from lab.profile.load import load
from lab.profile.models import Profile
from lab.suites.copy_faults.acts.registry import action_called
from tests.unit.builders import DONE, FAILED

NOTHING: dict[str, Any] = {"bios": [], "lost": 0}
"""What the executor tells of a device through which nothing moved."""


def moved(*bios: tuple[str, int, int, str]) -> dict[str, Any]:
    """What it tells of these: operation, sector, sectors, who."""
    return {"bios": [list(bio) for bio in bios], "lost": 0}


SEEN = Observation(trace="", carried=0, answer={"moved": NOTHING}, begun=1)


def profile(*devices: dict[str, Any], layers: tuple[dict[str, Any], ...] = ()) -> Profile:
    """A profile with these devices and layers."""
    return Profile.model_validate(
        {"name": "p", "description": "test", "devices": devices, "layers": layers}
    )


def nvme(serial: str = "S", **namespace: Any) -> dict[str, Any]:
    """A controller with one namespace."""
    return {"type": "nvme", "serial": serial, "namespaces": ({"size": 2**26} | namespace,)}


ZONES = {"zone_size": 2**22, "zone_capacity": 2**21}


SEVERAL: tuple[dict[str, Any], ...] = (
    {"name": "mirror", "type": "md", "over": ("A", "B"), "level": "raid1"},
    {"name": "one", "type": "btrfs", "over": ("mirror", "C"), "data": "single"},
    {"name": "fs", "type": "xfs", "over": "D", "rt": "E", "reflink": True},
)


def test_of_several_disks_the_one_with_data_has_the_points_and_all_are_looked_at() -> None:
    built = profile(*map(nvme, "ABCDE"), layers=SEVERAL)
    tree = find(built, "fs-clone", "one")
    assert (tree.drive.serial, [drive.serial for drive in tree.others]) == ("A", ["C", "B"])
    assert tree.redundant == "btrfs, raid1"  # of its metadata, which mkfs.btrfs keeps twice
    plain = find(built, "fs-cfr", "fs")
    assert (plain.drive.serial, [drive.serial for drive in plain.others]) == ("E", ["D"])
    assert plain.redundant == ""
    carried = replace(SEEN, carried=1)
    copy = tree.layout(1, 1).copy
    assert tree.offload(carried, copy).against.startswith("1 writes on the disks below carried")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"type": "md", "over": ("A", "B"), "level": "raid0"}, ""),
        ({"type": "md", "over": ("A", "B"), "level": "raid10"}, "md, raid10"),
        ({"type": "btrfs", "over": ("A",)}, ""),
        ({"type": "btrfs", "over": ("A",), "data": "dup"}, "btrfs, dup"),
        ({"type": "btrfs", "over": ("A", "B")}, "btrfs, raid1"),
        ({"type": "btrfs", "over": ("A", "B"), "metadata": "raid0"}, ""),
    ],
)
def test_what_makes_errors_good(keys: dict[str, Any], said: str) -> None:
    (layer,) = profile(nvme("A"), nvme("B"), layers=({"name": "it", **keys},)).layers
    assert layer.redundant == said


@pytest.mark.parametrize("path", [path.name for path in OWN])
def test_every_path_is_at_home_in_some_profile_that_ships(path: str) -> None:
    home = {"dm-kcopyd": "dm-kcopyd", "nvme-cross-ns": "nvme-cross-namespace", "zns-copy": "zns",
            "loop-reflink": "loop-xfs-reflink", "scsi-xcopy": "scsi-xcopy",
            "fs-clone": "loop-xfs-reflink", "fs-cfr": "loop-nfs42",
            "copyref": "copyref-xfs", "bdev-cfr-across": "nvme-two-disks",
            "bdev-cfr-memory": "null-blk", "bdev-cfr-stacked": "md-disks"}  # fmt: skip
    assert find(load(home.get(path, "nvme-copy"), []), path).name == path


def test_a_path_can_be_asked_for_on_a_layer() -> None:
    both = load("loop-xfs-reflink", [])
    assert find(both, "fs-cfr").ref == "xfs"
    assert find(both, "fs-cfr", "ext4").ref == "ext4"


def test_a_path_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no offload path warp") as caught:
        find(load("nvme-copy", []), "warp")
    assert "loop-reflink" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "ref", "needs"),
    [("zns-copy", "", "zoned"), ("scsi-xcopy", "", "tcm-loop"), ("nvme-copy", "X:1", "namespace")],
)
def test_a_path_that_a_profile_lacks_is_refused_with_what_it_needs(
    path: str, ref: str, needs: str
) -> None:
    with pytest.raises(ProfileError, match=f"has no offload path {path}") as caught:
        find(load("nvme-copy", []), path, ref)
    assert needs in caught.value.hint


def test_a_disk_with_a_layer_on_it_is_left_alone() -> None:
    layer = {"type": "ext4", "name": "fs", "over": "USED"}
    found = find(profile(nvme("USED"), nvme("FREE"), layers=(layer,)))
    assert found.ref == "FREE:1"
    with pytest.raises(ProfileError):
        find(profile(nvme("USED"), layers=(layer,)), "nvme-copy")


def test_a_namespace_without_metadata_is_taken_first() -> None:
    assert find(profile(nvme("PI", metadata=8, pi=1), nvme("N"))).ref == "N:1"
    found = find(profile(nvme("PI", metadata=16, pi=1, guard=64)))
    assert found.request(Copy((Extent(8, 8),), 32))["format"] == 1
    # Data and metadata are read and written apart.
    assert Point(Stage.WRITTEN, 8) in (found.points(4) or [])
    assert not found.possible(action_called("torn"))


def test_a_zone_is_written_up_to_the_destination_and_tagged_behind_it() -> None:
    path = find(profile(nvme(zoned=ZONES, block_size=512)))
    plan = path.layout(2, 16)
    zone = 2**22 // SECTOR
    assert plan.window.start == zone
    assert plan.copy.destination > plan.copy.sources[-1].end
    assert plan.window.end <= zone + 2**21 // SECTOR
    with pytest.raises(UsageError, match="the copy needs"):
        path.layout(40, 128)


class Guest:
    """Answers as the executor does, and keeps what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = answers

    def __call__(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        answer = self._answers.get(request["op"].split(".")[-1], {})
        return dict(answer)


def zone(pointer: int) -> dict[str, Any]:
    """A zone as the guest tells, its pointer in sectors."""
    return {"start": 2**22, "pointer": pointer * SECTOR, "capacity": 2**21, "condition": 2}


def test_after_a_success_the_write_pointer_is_behind_the_destination(tmp_path: Any) -> None:
    path = find(profile(nvme(zoned=ZONES)))
    copy = path.layout(1, 16).copy
    end = copy.target.end

    def check(pointer: int) -> str:
        guest = Guest(zone=zone(pointer), write_block={"status": 0})
        return path.on(Subject(guest, tmp_path)).check(copy, DONE)

    assert check(end) == ""
    assert f"at sector {end - 8}, not at {end}" in check(end - 8)


def test_a_write_must_be_possible_where_the_pointer_is_said_to_be(tmp_path: Any) -> None:
    path = find(profile(nvme(zoned=ZONES)))
    copy = path.layout(1, 16).copy
    at = zone(copy.destination)
    well = Guest(zone=at, write_block={"status": 0})
    assert path.on(Subject(well, tmp_path)).check(copy, FAILED) == ""
    assert well.asked[-1]["lba"] == copy.destination
    refused = Guest(zone=at, write_block={"status": 0x1BC})
    said = path.on(Subject(refused, tmp_path)).check(copy, FAILED)
    assert f"sector {copy.destination}, fails with status 0x1bc" in said


def test_sectors_that_cannot_be_read_say_so() -> None:
    import base64
    import zlib

    tagging = Tagging(Extent(0, 16), 1, 2)
    packed = base64.b64encode(zlib.compress(tagging.data())).decode()
    answer = {"data": packed, "unreadable": [[8 * SECTOR, 8 * SECTOR, 84]]}
    data = GuestGround(Guest(read=answer), "/dev/x", 8).read(Extent(0, 16))
    assert data[: 8 * SECTOR] == tagging.data()[: 8 * SECTOR]
    assert describe(data[8 * SECTOR : 9 * SECTOR], 1, 2) == "cannot be read: EILSEQ"


def test_what_is_written_through_the_guest_is_what_it_unpacks() -> None:
    import base64
    import zlib

    guest = Guest()
    GuestGround(guest, "/mnt/f", 8, 2**20).write(3, b"tags")
    (asked,) = guest.asked
    assert zlib.decompress(base64.b64decode(asked["data"])) == b"tags"
    assert (asked["offset"], asked["size"]) == (3 * SECTOR, 2**20)


def test_a_reflink_is_offloaded_when_no_write_carries_the_data() -> None:
    path = find(load("loop-xfs-reflink", []))
    copy = path.layout(2, 8).copy
    assert "carried" in path.offload(SEEN, copy).proof
    carried = path.offload(Observation("", 2, {"moved": NOTHING}, 1), copy)
    assert "2 writes" in carried.against
    assert carried.fallback == carried.against
    above = {"moved": moved(("WS", copy.destination, 8, "dd"))}
    assert "loop device" in path.offload(Observation("", 0, above, 1), copy).against
    # Nobody was left to tell what moved through the loop device, nor that anything was copied; what
    # the disk below was given still tells.
    assert not path.offload(Observation("", 0, None, 0), copy).proof
    assert path.offload(Observation("", 1, None, 0), copy).fallback


@pytest.mark.parametrize(
    ("answer", "untold"),
    [
        ({"errno": 5}, "no write on the disk below carried the copied data, but the copy failed"),
        ({"killed": 9}, "but who asked for the copy was killed"),
        (None, "the guest ended before it could tell"),
    ],
)
@pytest.mark.parametrize("name", ["fs-cfr", "fs-clone", "loop-reflink", "copyref"])
def test_no_write_with_the_data_proves_nothing_of_a_copy_that_did_not_succeed(
    name: str, answer: dict[str, Any] | None, untold: str
) -> None:
    """ext4 copies by reads and writes; where the first read fails, or the guest ends, it has
    written as little as a file system that shares blocks."""
    path = find(load("copyref-xfs" if name == "copyref" else "loop-xfs-reflink", []), name)
    copy = path.layout(1, 8).copy
    told = answer and {"moved": NOTHING} | answer
    seen = path.offload(Observation("", 0, told, 0), copy)
    assert (seen.proof, seen.against) == ("", "")
    assert untold in seen.untold
    assert path.offload(Observation("", 1, told, 0), copy).against


def test_a_target_has_copied_when_nothing_moved_through_its_disk() -> None:
    path = find(load("scsi-xcopy", []))
    copy = path.layout(1, 8).copy
    assert path.offload(SEEN, copy).proof
    source = copy.sources[0].start
    read = path.offload(Observation("", 0, {"moved": moved(("R", source, 8, "dd"))}, 1), copy)
    assert read.against == f"through the SCSI disk: read {source}+8 by dd"
    # Nothing came to the destination by that.
    assert not read.fallback
    nobody = path.offload(Observation("", 0, None, 1), copy)
    assert (nobody.proof, nobody.against) == ("", "")


def test_a_mirror_has_regions_of_one_length_without_gaps() -> None:
    path = find(load("dm-kcopyd", []), "dm-kcopyd")
    copy = path.layout(3, 64).copy
    starts = [source.start for source in copy.sources]
    assert starts == [starts[0], starts[0] + 64, starts[0] + 128]
    assert copy.destination == copy.sources[-1].end + GUARD
    with pytest.raises(UsageError, match="one regular way"):
        from lab.suites.copy_faults.generate import space
        from lab.suites.copy_faults.options import parse

        space(parse(["--cases", "1"]), path)


def test_an_errno_is_told_by_name_with_what_else_was_said(tmp_path: Any) -> None:
    path = find(load("scsi-xcopy", [])).on(Subject(Guest(), tmp_path))
    told = path.completion(
        {"errno": 5, "done": 2, "said": "sense key Bh, ASC 0Dh, ASCQ 00h", "seconds": 0.1}
    )
    assert (told.status, told.ranges_done, told.error) == (5, 2, "EIO")
    assert str(told) == "EIO (sense key Bh, ASC 0Dh, ASCQ 00h), 2 ranges reported done"
    assert path.completion({"errno": 0, "done": 3, "seconds": 0.1}).succeeded
    assert errno_name(95) == "EOPNOTSUPP"
